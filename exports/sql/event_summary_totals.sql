-- The published table summed as it stands.
SELECT currency{{ ", event_id" if by_event }}, count(*) AS row_count
       {%- for column in summed %}, sum({{ column }}) AS {{ column }}{% endfor %}
FROM warehouse.reporting.event_summary
WHERE organizer_id = coalesce($organizer_id, organizer_id)
  AND (list_contains($events, event_id) OR $events IS NULL)
  AND (list_contains($status, status) OR $status IS NULL)
  AND (list_contains($currencies, currency) OR $currencies IS NULL)
  AND (starts_at >= $starting_from OR $starting_from IS NULL)
  AND (starts_at < $starting_until OR $starting_until IS NULL)
  {%- if search %}
  AND {{ search }}
  {%- endif %}
GROUP BY currency{{ ", event_id" if by_event }}
