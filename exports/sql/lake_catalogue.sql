-- Which of the named events and ticket types exist, and whose they are.
SELECT 'event' AS what, event_id AS key, organizer_id AS owner
FROM lake.raw_events
WHERE list_contains($events, event_id)
UNION ALL
SELECT 'ticket_type', ticket_type_id, event_id
FROM lake.raw_ticket_types
WHERE list_contains($ticket_types, ticket_type_id)
UNION ALL
SELECT 'event', y.event_id, e.organizer_id
FROM lake.raw_ticket_types AS y
JOIN lake.raw_events AS e ON e.event_id = y.event_id
WHERE list_contains($ticket_types, y.ticket_type_id)
