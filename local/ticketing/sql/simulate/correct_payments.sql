-- A provider's statement corrects the processing fee of payments confirmed on earlier days.
UPDATE payments SET processing_fee_minor = processing_fee_minor + 1 + amount_minor / 1000, updated_at = %(now)s
WHERE payment_id IN (SELECT payment_id FROM payments
                     WHERE order_id = ANY(%(candidates)s) AND status = 'confirmed' AND confirmed_at < %(now)s::timestamptz - interval '1 day'
                     ORDER BY array_position(%(candidates)s::bigint[], order_id) LIMIT %(wanted)s)
