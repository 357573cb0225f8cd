-- Support gives back half of a fee retained on a refund paid on an earlier day: the refund grows and the
-- tickets keep less, on their own days.
WITH chosen AS (
    SELECT r.refund_id, r.order_id FROM refunds r
    WHERE r.refund_id = ANY(%(candidates)s) AND r.status = 'succeeded' AND r.retained_fee_minor > 1 AND r.reason <> 'goodwill'
      AND r.succeeded_at < %(now)s::timestamptz - interval '1 day'
    ORDER BY array_position(%(candidates)s::bigint[], r.refund_id) LIMIT %(wanted)s
    FOR UPDATE
), released AS (
    SELECT t.ticket_id, c.refund_id, t.retained_fee_minor - t.retained_fee_minor / 2 AS released
    FROM tickets t JOIN chosen c USING (order_id) WHERE t.status = 'cancelled'
), kept AS (
    UPDATE tickets t SET retained_fee_minor = t.retained_fee_minor - l.released, updated_at = %(now)s
    FROM released l WHERE t.ticket_id = l.ticket_id
)
UPDATE refunds r SET amount_minor = r.amount_minor + s.released, retained_fee_minor = r.retained_fee_minor - s.released, updated_at = %(now)s
FROM (SELECT refund_id, sum(released)::bigint AS released FROM released GROUP BY refund_id) s
WHERE r.refund_id = s.refund_id
