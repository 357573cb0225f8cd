SELECT check_in_id, ticket_id, order_id, event_id, ticket_type_id, is_test, scanned_at,
       updated_at AS recorded_at
FROM check_ins
WHERE scanned_at >= :range_start AND scanned_at < :range_end
