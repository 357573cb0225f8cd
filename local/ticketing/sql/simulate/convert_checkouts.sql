-- A checkout converts when its order, open until now, completes.
UPDATE checkouts c SET converted_at = s.completed_at, updated_at = %(now)s
FROM staged_orders s
WHERE c.order_id = s.order_id AND c.converted_at IS NULL AND s.completed_at IS NOT NULL
