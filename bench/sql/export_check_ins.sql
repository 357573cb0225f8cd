SELECT CAST(checked_in_at AT TIME ZONE 'Africa/Nairobi' AS DATE) AS business_date,
       ticket_id AS check_in_id, ticket_id, order_id, event_id, ticket_type_id, false AS is_test,
       checked_in_at AS scanned_at, checked_in_at AS recorded_at
FROM source.bench.attendees
WHERE checked_in_at IS NOT NULL
ORDER BY business_date
