-- The published days summed as they stand.
SELECT currency{{ ", event_id" if by_event }}, count(DISTINCT (organizer_id, event_id)) AS row_count
       {%- for column in summed %}, sum({{ column }}) AS {{ column }}{% endfor %}
FROM warehouse.reporting.daily_metrics
WHERE business_date BETWEEN coalesce($days_first, DATE '0001-01-01')
                        AND coalesce($days_last, DATE '9999-12-31')
  AND organizer_id = coalesce($organizer_id, organizer_id)
  AND (list_contains($events, event_id) OR $events IS NULL)
  AND (list_contains($currencies, currency) OR $currencies IS NULL)
GROUP BY currency{{ ", event_id" if by_event }}
