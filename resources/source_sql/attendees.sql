SELECT ticket_id, event_id, attendee_name, attendee_email, attendee_phone, contact_consent,
       issued_at, updated_at AS recorded_at
FROM tickets
WHERE issued_at >= :range_start AND issued_at < :range_end
