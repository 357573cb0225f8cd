-- An event, if the caller sees it.
SELECT event_id, event_name, organizer_id, organizer_name, event_time_zone, currency, status,
       capacity, on_sale_at, starts_at, ends_at
FROM reporting.event_summary
WHERE event_id = %(event_id)s
