-- Totals per organizer, currency and day, straight from the platform's tables. It shares nothing with
-- the pipeline: no view, no macro, and days are cut by Postgres's own time zone arithmetic.
WITH facts (event_id, at, metric, value) AS (
    SELECT event_id, placed_at, 'requests', 1 FROM orders WHERE NOT is_test
    UNION ALL
    SELECT event_id, completed_at, 'orders', 1 FROM orders WHERE NOT is_test
    UNION ALL
    SELECT event_id, completed_at, 'free_orders', 1 FROM orders WHERE NOT is_test AND total_minor = 0
    UNION ALL
    SELECT event_id, completed_at, 'test_orders', 1 FROM orders WHERE is_test
    UNION ALL
    SELECT event_id, cancelled_at, 'orders_cancelled', 1 FROM orders WHERE NOT is_test
    UNION ALL
    SELECT event_id, expired_at, 'orders_expired', 1 FROM orders WHERE NOT is_test
    UNION ALL
    -- What buyers were charged is the order's total, whatever its parts.
    SELECT event_id, completed_at, 'gross_revenue', total_minor FROM orders WHERE NOT is_test
    UNION ALL
    SELECT event_id, completed_at, 'platform_fees', platform_fee_minor FROM orders
    WHERE NOT is_test
    UNION ALL
    SELECT t.event_id, o.completed_at, 'tickets_sold', 1
    FROM tickets t JOIN orders o USING (order_id) JOIN ticket_types y USING (ticket_type_id)
    WHERE NOT o.is_test AND y.kind = 'admission'
    UNION ALL
    SELECT t.event_id, o.completed_at, 'face_value', t.list_price_minor
    FROM tickets t JOIN orders o USING (order_id)
    WHERE NOT o.is_test
    UNION ALL
    SELECT t.event_id, t.cancelled_at, 'tickets_cancelled', 1
    FROM tickets t JOIN orders o USING (order_id) JOIN ticket_types y USING (ticket_type_id)
    WHERE NOT o.is_test AND y.kind = 'admission'
    UNION ALL
    SELECT t.event_id, t.cancelled_at, 'sale_reversals', t.unsold_minor - t.retained_fee_minor
    FROM tickets t JOIN orders o USING (order_id)
    WHERE NOT o.is_test
    UNION ALL
    SELECT c.event_id, c.scanned_at, 'check_ins', 1
    FROM check_ins c JOIN tickets t USING (ticket_id) JOIN orders o ON o.order_id = t.order_id
    JOIN ticket_types y ON y.ticket_type_id = t.ticket_type_id
    WHERE NOT o.is_test AND y.kind = 'admission'
    UNION ALL
    SELECT p.event_id, p.confirmed_at, 'payments', p.amount_minor
    FROM payments p JOIN orders o USING (order_id) WHERE NOT o.is_test
    UNION ALL
    SELECT p.event_id, p.confirmed_at, 'processing_fees', p.processing_fee_minor
    FROM payments p JOIN orders o USING (order_id) WHERE NOT o.is_test
    UNION ALL
    SELECT r.event_id, r.succeeded_at, 'refunds', r.amount_minor
    FROM refunds r JOIN orders o USING (order_id) WHERE NOT o.is_test
    UNION ALL
    SELECT r.event_id, r.succeeded_at, 'platform_fees', -r.platform_fee_returned_minor
    FROM refunds r JOIN orders o USING (order_id) WHERE NOT o.is_test
    UNION ALL
    SELECT r.event_id, r.succeeded_at, 'processing_fees', -r.processing_fee_returned_minor
    FROM refunds r JOIN orders o USING (order_id) WHERE NOT o.is_test
    UNION ALL
    SELECT d.event_id, d.withdrawn_at, 'chargebacks', d.amount_minor
    FROM disputes d JOIN orders o USING (order_id) WHERE NOT o.is_test
    UNION ALL
    SELECT d.event_id, d.withdrawn_at, 'processing_fees', d.fee_minor
    FROM disputes d JOIN orders o USING (order_id) WHERE NOT o.is_test
    UNION ALL
    SELECT d.event_id, d.reinstated_at, 'chargebacks', -d.amount_minor
    FROM disputes d JOIN orders o USING (order_id) WHERE NOT o.is_test
    UNION ALL
    SELECT event_id, started_at, 'checkouts', 1 FROM checkouts WHERE NOT is_test
    UNION ALL
    SELECT event_id, view_date::timestamp AT TIME ZONE %(time_zone)s, 'page_views', page_views
    FROM page_views
)
SELECT e.organizer_id, e.currency, (f.at AT TIME ZONE %(time_zone)s)::date AS business_date,
       f.metric, sum(f.value)::bigint AS value
FROM facts f JOIN events e USING (event_id)
WHERE f.at IS NOT NULL
GROUP BY 1, 2, 3, 4
HAVING sum(f.value) <> 0
