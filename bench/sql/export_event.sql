-- One event's attendees for the peers: the columns and the order of the product's export.
SELECT ticket_id, order_id, event_name, ticket_type_name, status, attendee_name, attendee_email,
       attendee_phone, charged_minor AS charged, currency, issued_at, checked_in_at
FROM bench.attendees
WHERE event_id = {event_id}
ORDER BY ticket_id
