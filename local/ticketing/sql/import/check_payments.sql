-- Rules of payments.csv that one row shows by itself.
INSERT INTO import_refused (file, line, column_name, value, reason, key, order_id)
SELECT 'payments.csv', line, p.column_name, coalesce(p.value, ''), p.reason, payment_id, order_id
FROM import_payments
CROSS JOIN LATERAL (VALUES
    (status = 'confirmed' AND confirmed_at IS NULL,
     'confirmed_at', NULL, 'is empty though the payment is confirmed; add it'),
    (status <> 'confirmed' AND confirmed_at IS NOT NULL,
     'status', status, 'contradicts confirmed_at; write confirmed or empty confirmed_at'),
    (confirmed_at IS NULL AND created_at IS NULL,
     'created_at', NULL, 'is empty, as is confirmed_at; add one of them'),
    (confirmed_at < created_at,
     'confirmed_at', confirmed_at::text, 'is before created_at; correct one of them')
) AS p (is_wrong, column_name, value, reason)
WHERE p.is_wrong
