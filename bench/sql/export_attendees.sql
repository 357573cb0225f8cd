SELECT CAST(issued_at AT TIME ZONE 'Africa/Nairobi' AS DATE) AS business_date, ticket_id, event_id,
       attendee_name, attendee_email, attendee_phone, ticket_id % 3 > 0 AS contact_consent, issued_at,
       issued_at AS recorded_at
FROM source.bench.attendees
ORDER BY business_date
