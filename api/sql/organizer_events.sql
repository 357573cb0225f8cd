-- Events by number, as far as the caller sees them: what they are, and their metrics over all days.
SELECT event_id, organizer_id, organizer_name, event_name, category, venue, event_time_zone,
       currency, status, capacity, on_sale_at, starts_at, ends_at, first_sale_date, last_sale_date
    {%- for metric in metrics %}, {{ metric }}{% endfor %}
FROM reporting.event_summary
WHERE event_id = ANY (%(events)s)
  AND (%(organizer)s::bigint IS NULL OR organizer_id = %(organizer)s)
ORDER BY event_id
