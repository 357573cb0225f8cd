-- What always holds in the sample platform, in plain SQL over the stored rows: one row per rule with the
-- number of rows that break it. %(now)s is the platform's present.
WITH lines AS (
    SELECT order_id, sum(charged_minor) AS charged, count(*) AS lines, count(*) FILTER (WHERE status = 'issued') AS issued,
           sum(unsold_minor) FILTER (WHERE status = 'cancelled') AS unsold,
           sum(unsold_minor - retained_fee_minor) FILTER (WHERE status = 'cancelled') AS owed,
           sum(retained_fee_minor) AS retained
    FROM tickets GROUP BY order_id
), paid AS (
    SELECT order_id, sum(amount_minor) AS amount, max(confirmed_at) AS confirmed_at FROM payments WHERE status = 'confirmed' GROUP BY order_id
), returned AS (
    SELECT order_id, sum(amount_minor) AS amount, sum(retained_fee_minor) AS retained, count(*) AS refunds
    FROM refunds WHERE status = 'succeeded' AND reason <> 'goodwill' GROUP BY order_id
)
SELECT 'total of a completed order = charged prices - discount + fees + tax', count(*)
FROM orders o LEFT JOIN lines l USING (order_id)
WHERE o.completed_at IS NOT NULL
  AND o.total_minor IS DISTINCT FROM l.charged - o.discount_minor + o.buyer_fees_minor + o.tax_minor
UNION ALL
SELECT 'an order that never completed has no tickets', count(*)
FROM orders o JOIN lines l USING (order_id) WHERE o.completed_at IS NULL
UNION ALL
SELECT 'the status of an order agrees with its instants', count(*)
FROM orders o LEFT JOIN lines l USING (order_id)
WHERE o.status <> CASE WHEN o.cancelled_at IS NOT NULL THEN 'cancelled' WHEN o.completed_at IS NOT NULL THEN 'completed'
                       WHEN o.expired_at IS NOT NULL THEN 'expired' ELSE 'pending' END
   OR (o.completed_at IS NOT NULL AND o.expired_at IS NOT NULL)
   OR (o.completed_at IS NOT NULL AND (o.cancelled_at IS NOT NULL) <> (l.issued = 0))
UNION ALL
SELECT 'order, ticket, payment, refund and dispute are in the currency of the event', count(*)
FROM (SELECT event_id, currency FROM orders UNION ALL SELECT event_id, currency FROM tickets
      UNION ALL SELECT event_id, currency FROM payments UNION ALL SELECT event_id, currency FROM refunds
      UNION ALL SELECT event_id, currency FROM disputes UNION ALL SELECT event_id, currency FROM ticket_types) x
JOIN events e USING (event_id) WHERE x.currency <> e.currency
UNION ALL
SELECT 'rows that belong to an order have its event and its test mark', count(*)
FROM (SELECT order_id, event_id, is_test FROM tickets UNION ALL SELECT order_id, event_id, is_test FROM payments
      UNION ALL SELECT order_id, event_id, is_test FROM refunds UNION ALL SELECT order_id, event_id, is_test FROM disputes
      UNION ALL SELECT order_id, event_id, is_test FROM check_ins
      UNION ALL SELECT order_id, event_id, is_test FROM checkouts WHERE order_id IS NOT NULL) x
JOIN orders o USING (order_id) WHERE (x.event_id, x.is_test) IS DISTINCT FROM (o.event_id, o.is_test)
UNION ALL
SELECT 'a ticket is issued when its order completes', count(*)
FROM tickets t JOIN orders o USING (order_id) WHERE t.issued_at IS DISTINCT FROM o.completed_at
UNION ALL
SELECT 'a ticket has its event''s ticket type', count(*)
FROM tickets t JOIN ticket_types y USING (ticket_type_id) WHERE t.event_id <> y.event_id
UNION ALL
SELECT 'an issued ticket un-sells nothing; a cancelled one keeps 0 to what it un-sells', count(*)
FROM tickets
WHERE (status = 'issued' AND (cancelled_at IS NOT NULL OR unsold_minor <> 0 OR retained_fee_minor <> 0))
   OR (status = 'cancelled' AND (cancelled_at IS NULL OR cancelled_at < issued_at OR retained_fee_minor NOT BETWEEN 0 AND unsold_minor))
UNION ALL
SELECT 'the shares of an order cancelled as a whole add up to its total', count(*)
FROM lines l JOIN orders o USING (order_id)
WHERE l.issued = 0 AND l.unsold <> CASE WHEN l.charged = 0 THEN 0 ELSE o.total_minor END
UNION ALL
SELECT 'a ticket''s share is within one minor unit of its exact share', count(*)
FROM tickets t JOIN orders o USING (order_id) JOIN lines l USING (order_id)
WHERE t.status = 'cancelled' AND l.charged > 0
  AND abs(t.unsold_minor - o.total_minor::numeric * t.charged_minor / l.charged) >= 1
UNION ALL
SELECT 'a refund returns what its cancellation un-sold less what is retained', count(*)
FROM returned r JOIN lines l USING (order_id)
WHERE r.refunds <> 1 OR r.amount <> l.owed OR r.retained <> l.retained
UNION ALL
SELECT 'every cancellation that owes money has asked for its refund', count(*)
FROM lines l
WHERE l.owed > 0 AND NOT EXISTS (SELECT FROM refunds r WHERE r.order_id = l.order_id AND r.reason <> 'goodwill')
UNION ALL
SELECT 'a refund''s payment is a confirmed one of the same order', count(*)
FROM refunds r LEFT JOIN payments p USING (payment_id)
WHERE r.payment_id IS NOT NULL AND (p.order_id <> r.order_id OR p.status <> 'confirmed' OR p.instrument <> r.instrument)
UNION ALL
SELECT 'refunds of an order never exceed its total', count(*)
FROM (SELECT order_id, sum(amount_minor) AS amount FROM refunds WHERE status = 'succeeded' GROUP BY order_id) r
JOIN orders o USING (order_id) WHERE r.amount > o.total_minor
UNION ALL
SELECT 'a refund''s status agrees with its instants', count(*)
FROM refunds
WHERE status <> CASE WHEN succeeded_at IS NOT NULL THEN 'succeeded' WHEN failed_at IS NOT NULL THEN 'failed' ELSE 'requested' END
   OR succeeded_at < requested_at OR failed_at < requested_at
UNION ALL
SELECT 'confirmed payments of a completed order add up to its total', count(*)
FROM orders o LEFT JOIN paid p USING (order_id)
WHERE o.completed_at IS NOT NULL AND o.total_minor <> coalesce(p.amount, 0)
UNION ALL
SELECT 'only completed orders have confirmed payments, confirmed by then', count(*)
FROM paid p JOIN orders o USING (order_id) WHERE o.completed_at IS NULL OR p.confirmed_at > o.completed_at
UNION ALL
SELECT 'a payment''s status agrees with its instants', count(*)
FROM payments p JOIN orders o USING (order_id)
WHERE (p.status = 'confirmed') <> (p.confirmed_at IS NOT NULL) OR p.confirmed_at < p.created_at OR p.created_at < o.placed_at
UNION ALL
SELECT 'a provider is paired with an instrument it offers', count(*)
FROM payments
WHERE (provider, instrument) NOT IN (('MPESA', 'mpesa'), ('PESAPAL', 'mpesa'), ('PESAPAL', 'airtel'), ('PESAPAL', 'visa'),
      ('PESAPAL', 'mastercard'), ('PESAPAL', 'bank'), ('PAYHERO', 'mpesa'), ('PAYHERO', 'airtel'), ('CARD', 'visa'),
      ('CARD', 'mastercard'), ('CASH', 'cash'))
UNION ALL
SELECT 'a dispute is about a confirmed payment, after it, and no larger', count(*)
FROM disputes d JOIN payments p USING (payment_id)
WHERE d.order_id <> p.order_id OR p.status <> 'confirmed' OR d.withdrawn_at < p.confirmed_at OR d.amount_minor > p.amount_minor
   OR d.reinstated_at < d.withdrawn_at OR (d.status = 'reinstated') <> (d.reinstated_at IS NOT NULL)
UNION ALL
SELECT 'only issued admissions are checked in, once, after they were issued', count(*)
FROM check_ins c LEFT JOIN tickets t USING (ticket_id) LEFT JOIN ticket_types y ON y.ticket_type_id = t.ticket_type_id
WHERE t.status IS DISTINCT FROM 'issued' OR y.kind <> 'admission' OR c.scanned_at < t.issued_at OR c.uploaded_at < c.scanned_at
   OR (c.order_id, c.event_id, c.ticket_type_id) IS DISTINCT FROM (t.order_id, t.event_id, t.ticket_type_id)
UNION ALL
SELECT 'no ticket is checked in twice', count(*) - count(DISTINCT ticket_id) FROM check_ins
UNION ALL
SELECT 'a checkout converts exactly when its order completes', count(*)
FROM checkouts c LEFT JOIN orders o USING (order_id)
WHERE c.converted_at IS DISTINCT FROM o.completed_at OR c.started_at > coalesce(o.placed_at, c.started_at)
UNION ALL
SELECT 'visitors see at least one page', count(*) FROM page_views WHERE visitors > page_views
UNION ALL
SELECT 'an event that is not cancelled holds what was sold', count(*)
FROM (SELECT t.event_id, count(*) AS sold FROM tickets t JOIN ticket_types y USING (ticket_type_id)
      WHERE y.kind = 'admission' AND t.status = 'issued' GROUP BY t.event_id) s
JOIN events e USING (event_id) WHERE s.sold > e.capacity
UNION ALL
SELECT 'tickets of a cancelled event are cancelled', count(*)
FROM tickets t JOIN events e USING (event_id)
WHERE e.status = 'cancelled' AND t.status = 'issued' AND e.cancelled_at < %(now)s - interval '4 days'
UNION ALL
SELECT 'nothing is placed before its event is on sale or after it ended or was cancelled', count(*)
FROM orders o JOIN events e USING (event_id)
WHERE o.placed_at < e.on_sale_at OR o.placed_at >= e.ends_at OR o.placed_at >= e.cancelled_at
UNION ALL
SELECT 'updated_at is not before the row''s last business instant', count(*)
FROM (SELECT updated_at, greatest(placed_at, completed_at, cancelled_at, expired_at) AS at FROM orders
      UNION ALL SELECT updated_at, greatest(issued_at, cancelled_at) FROM tickets
      UNION ALL SELECT updated_at, greatest(created_at, confirmed_at) FROM payments
      UNION ALL SELECT updated_at, greatest(requested_at, succeeded_at, failed_at) FROM refunds
      UNION ALL SELECT updated_at, greatest(withdrawn_at, reinstated_at) FROM disputes
      UNION ALL SELECT updated_at, greatest(scanned_at, uploaded_at) FROM check_ins
      UNION ALL SELECT updated_at, greatest(started_at, converted_at) FROM checkouts) x
WHERE updated_at < at
UNION ALL
SELECT 'nothing happens in the future', count(*)
FROM (SELECT updated_at AS at FROM orders UNION ALL SELECT updated_at FROM tickets UNION ALL SELECT updated_at FROM payments
      UNION ALL SELECT updated_at FROM refunds UNION ALL SELECT updated_at FROM disputes UNION ALL SELECT updated_at FROM check_ins
      UNION ALL SELECT updated_at FROM checkouts UNION ALL SELECT updated_at FROM page_views UNION ALL SELECT updated_at FROM events
      UNION ALL SELECT updated_at FROM organizers UNION ALL SELECT updated_at FROM ticket_types
      UNION ALL SELECT updated_at FROM customers UNION ALL SELECT updated_at FROM fee_plans) x
WHERE at > %(now)s
