-- An organizer's events that are still to come, the next one first.
SELECT event_id, event_name, venue, event_time_zone, currency, status, capacity, on_sale_at,
       starts_at
    {%- for metric in metrics %}, {{ metric }}{% endfor %}
FROM reporting.event_summary
WHERE organizer_id = %(organizer)s AND starts_at >= %(since)s AND status IN ('on_sale', 'sold_out')
ORDER BY starts_at, event_id
LIMIT %(limit)s
