-- Card holders dispute past payments.
INSERT INTO disputes (dispute_id, payment_id, order_id, event_id, provider, instrument, status, currency, amount_minor, fee_minor,
                      is_test, withdrawn_at, updated_at)
SELECT (SELECT coalesce(max(dispute_id), 0) FROM disputes) + row_number() OVER (ORDER BY p.payment_id), p.payment_id, p.order_id, p.event_id,
       p.provider, p.instrument, 'withdrawn', p.currency, p.amount_minor, 0, p.is_test, %(now)s, %(now)s
FROM payments p
WHERE p.payment_id IN (SELECT q.payment_id FROM payments q
    WHERE q.order_id = ANY(%(candidates)s) AND q.status = 'confirmed' AND q.instrument IN ('visa', 'mastercard') AND q.confirmed_at < %(now)s
      AND NOT EXISTS (SELECT FROM refunds r WHERE r.order_id = q.order_id)
      AND NOT EXISTS (SELECT FROM disputes d WHERE d.payment_id = q.payment_id)
    ORDER BY array_position(%(candidates)s::bigint[], q.order_id) LIMIT %(wanted)s)
