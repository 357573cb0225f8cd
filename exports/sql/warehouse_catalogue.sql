-- Which of the named events and ticket types are published, and whose they are.
SELECT 'event' AS what, event_id AS key, organizer_id AS owner
FROM reporting.event_summary
WHERE event_id = ANY(%(events)s)
UNION
SELECT 'ticket_type', ticket_type_id, event_id
FROM reporting.daily_ticket_types
WHERE ticket_type_id = ANY(%(ticket_types)s)
UNION
SELECT 'event', event_id, organizer_id
FROM reporting.daily_ticket_types
WHERE ticket_type_id = ANY(%(ticket_types)s)
