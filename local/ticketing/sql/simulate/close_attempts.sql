-- An attempt still open when its order completed or lapsed has failed; what was paid is a new row.
UPDATE payments p SET status = 'failed', updated_at = %(now)s
FROM staged_orders s
WHERE p.order_id = s.order_id AND p.status = 'pending' AND s.status <> 'pending'
