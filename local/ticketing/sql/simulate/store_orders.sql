-- New orders are inserted, open ones that completed or lapsed are updated.
INSERT INTO orders AS o SELECT * FROM staged_orders
ON CONFLICT (order_id) DO UPDATE
SET status = excluded.status, discount_minor = excluded.discount_minor, buyer_fees_minor = excluded.buyer_fees_minor,
    tax_minor = excluded.tax_minor, total_minor = excluded.total_minor, platform_fee_minor = excluded.platform_fee_minor,
    completed_at = excluded.completed_at, cancelled_at = excluded.cancelled_at, expired_at = excluded.expired_at,
    updated_at = excluded.updated_at
WHERE o.status = 'pending' AND excluded.status <> 'pending'
