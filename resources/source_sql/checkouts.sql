SELECT checkout_id, event_id, order_id, channel, is_test, started_at, converted_at,
       updated_at AS recorded_at
FROM checkouts
WHERE started_at >= :range_start AND started_at < :range_end
