SELECT r.refund_id, r.order_id, r.event_id, r.provider, r.instrument, r.currency, r.amount_minor,
       r.platform_fee_returned_minor, r.processing_fee_returned_minor, r.is_test, r.succeeded_at,
       o.completed_at AS sold_at, r.updated_at AS recorded_at
FROM refunds r
LEFT JOIN orders o ON o.order_id = r.order_id
WHERE r.succeeded_at >= :range_start AND r.succeeded_at < :range_end
