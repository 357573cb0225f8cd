SELECT d.dispute_id, d.order_id, d.event_id, d.provider, d.instrument, d.currency, d.amount_minor,
       d.fee_minor, d.is_test, d.withdrawn_at, d.reinstated_at, o.completed_at AS sold_at,
       d.updated_at AS recorded_at
FROM disputes d
LEFT JOIN orders o ON o.order_id = d.order_id
WHERE (d.withdrawn_at >= :range_start AND d.withdrawn_at < :range_end)
   OR (d.reinstated_at >= :range_start AND d.reinstated_at < :range_end)
