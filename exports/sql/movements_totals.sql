-- The ledger summed as it stands.
SELECT currency{{ ", event_id" if by_event }}, count(*) AS row_count
       {%- for column in summed %}, sum({{ column }}) AS {{ column }}{% endfor %}
FROM lake.movements
WHERE business_date BETWEEN coalesce($days_first, DATE '0001-01-01')
                        AND coalesce($days_last, DATE '9999-12-31')
  AND (list_contains($kinds, kind) OR $kinds IS NULL)
  AND (list_contains($currencies, currency) OR $currencies IS NULL)
  {%- if scoped %}
  AND (organizer_id = $organizer_id OR $organizer_id IS NULL)
  AND (list_contains($events, event_id) OR $events IS NULL)
  {%- endif %}
GROUP BY currency{{ ", event_id" if by_event }}
