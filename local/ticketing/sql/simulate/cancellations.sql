-- Buyers of past orders change their minds: all their tickets or the first of them are cancelled and a
-- refund is asked for. Shares are differences of running totals (see chunk/cancelled_lines.sql).
WITH chosen AS (
    SELECT o.order_id, o.total_minor,
           (ARRAY[0, 0, 10, 25])[1 + (hashint8(o.order_id) & 3)] AS retained_percent, hashint8(-o.order_id) & 1 = 0 AS is_whole
    FROM orders o JOIN events e USING (event_id)
    WHERE o.order_id = ANY(%(candidates)s) AND o.status = 'completed' AND o.total_minor > 0 AND o.completed_at < %(now)s
      AND e.cancelled_at IS NULL AND e.starts_at > %(now)s::timestamptz - interval '7 days'
      AND NOT EXISTS (SELECT FROM refunds r WHERE r.order_id = o.order_id)
      AND NOT EXISTS (SELECT FROM payments p JOIN disputes d USING (payment_id) WHERE p.order_id = o.order_id)
      AND NOT EXISTS (SELECT FROM tickets t LEFT JOIN check_ins c USING (ticket_id)
                      WHERE t.order_id = o.order_id AND (t.status = 'cancelled' OR c.ticket_id IS NOT NULL))
    ORDER BY array_position(%(candidates)s::bigint[], o.order_id)
    LIMIT %(wanted)s
    FOR UPDATE OF o
), running AS (
    SELECT c.*, t.ticket_id, t.charged_minor, row_number() OVER (PARTITION BY order_id ORDER BY t.ticket_id) AS nth,
           count(*) OVER (PARTITION BY order_id) AS line_count, sum(t.charged_minor) OVER (PARTITION BY order_id ORDER BY t.ticket_id) AS upto,
           sum(t.charged_minor) OVER (PARTITION BY order_id) AS charged
    FROM chosen c JOIN tickets t USING (order_id)
), shares AS (
    SELECT *, (div(total_minor * upto, charged) - div(total_minor * (upto - charged_minor), charged))::bigint AS unsold
    FROM running WHERE is_whole OR nth <= greatest(1, line_count / 2)
), cancelled AS (
    UPDATE tickets t
    SET status = 'cancelled', cancelled_at = %(now)s, unsold_minor = s.unsold, retained_fee_minor = s.unsold * s.retained_percent / 100,
        updated_at = %(now)s
    FROM shares s WHERE t.ticket_id = s.ticket_id
    RETURNING t.order_id, t.unsold_minor, t.retained_fee_minor, s.line_count
), summed AS (
    SELECT order_id, count(*) = max(line_count) AS is_all, sum(unsold_minor - retained_fee_minor)::bigint AS owed,
           sum(retained_fee_minor)::bigint AS retained
    FROM cancelled GROUP BY order_id
), closed AS (
    UPDATE orders o SET status = CASE WHEN s.is_all THEN 'cancelled' ELSE o.status END,
                        cancelled_at = CASE WHEN s.is_all THEN %(now)s::timestamptz END, updated_at = %(now)s
    FROM summed s WHERE o.order_id = s.order_id
    RETURNING o.order_id, o.event_id, o.currency, o.is_test
), payers AS (
    SELECT p.order_id, min(p.provider) AS provider, min(p.instrument) AS instrument,
           CASE WHEN count(*) = 1 THEN min(p.payment_id) END AS payment_id
    FROM payments p JOIN summed USING (order_id) WHERE p.status = 'confirmed' GROUP BY p.order_id
)
INSERT INTO refunds (refund_id, order_id, payment_id, event_id, provider, instrument, status, currency, amount_minor,
                     retained_fee_minor, reason, is_test, requested_at, updated_at)
SELECT (SELECT coalesce(max(refund_id), 0) FROM refunds) + row_number() OVER (ORDER BY s.order_id), s.order_id, p.payment_id, c.event_id,
       p.provider, p.instrument, 'requested', c.currency, s.owed, s.retained, 'requested by buyer', c.is_test, %(now)s, %(now)s
FROM summed s JOIN closed c USING (order_id) JOIN payers p USING (order_id)
WHERE s.owed > 0
