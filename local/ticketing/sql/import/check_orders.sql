-- Rules of orders.csv that one row shows by itself.
INSERT INTO import_refused (file, line, column_name, value, reason, detail, key, order_id)
SELECT 'orders.csv', line, p.column_name, coalesce(p.value, ''), p.reason, NULL, order_id, order_id
FROM import_orders AS o
CROSS JOIN LATERAL (VALUES
    (status = 'cancelled' AND cancelled_at IS NULL,
     'cancelled_at', NULL, 'is empty though the order is cancelled; add it'),
    (status <> 'cancelled' AND cancelled_at IS NOT NULL,
     'status', status, 'contradicts cancelled_at; write cancelled or empty cancelled_at'),
    (status = 'expired' AND expired_at IS NULL,
     'expired_at', NULL, 'is empty though the order expired; add it'),
    (status <> 'expired' AND expired_at IS NOT NULL,
     'status', status, 'contradicts expired_at; write expired or empty expired_at'),
    (status IN ('pending', 'expired') AND completed_at IS NOT NULL,
     'status', status, 'contradicts completed_at; write completed or empty completed_at'),
    (completed_at < placed_at,
     'completed_at', completed_at::text, 'is before placed_at; correct one of them'),
    (cancelled_at < coalesce(completed_at, placed_at),
     'cancelled_at', cancelled_at::text, 'is before the order was placed or completed; correct one of them'),
    (expired_at < placed_at,
     'expired_at', expired_at::text, 'is before placed_at; correct one of them')
) AS p (is_wrong, column_name, value, reason)
WHERE p.is_wrong
