-- Rules of refunds.csv against its payments.
INSERT INTO import_refused (file, line, column_name, value, reason, detail, key, order_id)
SELECT 'refunds.csv', f.line, p.column_name, coalesce(p.value, ''), p.reason, p.detail, f.refund_id, f.order_id
FROM import_refunds AS f
LEFT JOIN import_payments AS y USING (payment_id)
LEFT JOIN (SELECT key, min(line) AS line FROM import_refused WHERE file = 'payments.csv' GROUP BY key) AS r
    ON r.key = f.payment_id AND y.payment_id IS NULL
CROSS JOIN LATERAL (VALUES
    (f.payment_id IS NOT NULL AND y.payment_id IS NULL AND r.line IS NULL,
     'payment_id', f.payment_id::text, 'is not in payments.csv; add it there or empty it', NULL),
    (r.line IS NOT NULL,
     'payment_id', f.payment_id::text, 'belongs to a refused row of payments.csv; correct that one', 'line ' || r.line),
    (y.order_id <> f.order_id,
     'payment_id', f.payment_id::text, 'is a payment of another order', 'of order ' || y.order_id),
    (f.payment_id IS NULL AND (f.provider IS NULL OR f.instrument IS NULL),
     'payment_id', NULL, 'is empty, as is provider or instrument; give the payment, or provider and instrument', NULL),
    (f.status = 'succeeded' AND f.succeeded_at IS NULL,
     'succeeded_at', NULL, 'is empty though the refund succeeded; add it', NULL),
    (f.status <> 'succeeded' AND f.succeeded_at IS NOT NULL,
     'status', f.status, 'contradicts succeeded_at; write succeeded or empty succeeded_at', NULL),
    (f.status = 'failed' AND f.failed_at IS NULL,
     'failed_at', NULL, 'is empty though the refund failed; add it', NULL),
    (f.status <> 'failed' AND f.failed_at IS NOT NULL,
     'status', f.status, 'contradicts failed_at; write failed or empty failed_at', NULL),
    (coalesce(f.requested_at, f.succeeded_at, f.failed_at) IS NULL,
     'requested_at', NULL, 'is empty, and no other instant is given; add it', NULL),
    (f.succeeded_at < f.requested_at OR f.failed_at < f.requested_at,
     'requested_at', f.requested_at::text, 'is after the refund ended; correct one of them', NULL)
) AS p (is_wrong, column_name, value, reason, detail)
WHERE p.is_wrong
