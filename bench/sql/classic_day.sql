-- The classic way: one day of daily_metrics with one statement over the platform's own tables. Each
-- fact is read by the index of its day and summed per event. It shares nothing with the pipeline.
INSERT INTO classic.daily_metrics (
    business_date, organizer_id, event_id, currency,
    requests, checkouts, page_views, visitors, orders, free_orders, paid_orders, orders_cancelled,
    orders_expired, test_orders, buyers, tickets_paid, tickets_free, tickets_comp, tickets_sold,
    tickets_cancelled, check_ins, face_value, discounts, ticket_revenue, buyer_fees, tax,
    gross_revenue, sale_reversals, net_sales, payments, payments_count, refunds, refunds_count,
    chargebacks, net_collected, platform_fees, processing_fees, organizer_net
)
WITH placed AS (
    SELECT event_id, count(*) AS requests
    FROM orders
    WHERE placed_at >= %(start)s AND placed_at < %(end)s AND NOT is_test
    GROUP BY event_id
),
completed AS (
    SELECT event_id,
           count(*) FILTER (WHERE NOT is_test) AS orders,
           count(*) FILTER (WHERE NOT is_test AND total_minor = 0) AS free_orders,
           count(*) FILTER (WHERE is_test) AS test_orders,
           count(DISTINCT coalesce(nullif(lower(trim(buyer_email)), ''),
                                   nullif(trim(buyer_phone), ''),
                                   'account:' || customer_id)) FILTER (WHERE NOT is_test) AS buyers,
           sum(discount_minor) FILTER (WHERE NOT is_test) AS discounts,
           sum(buyer_fees_minor) FILTER (WHERE NOT is_test) AS buyer_fees,
           sum(tax_minor) FILTER (WHERE NOT is_test) AS tax,
           sum(platform_fee_minor) FILTER (WHERE NOT is_test) AS platform_fees
    FROM orders
    WHERE completed_at >= %(start)s AND completed_at < %(end)s
    GROUP BY event_id
),
order_cancelled AS (
    SELECT event_id, count(*) AS orders_cancelled
    FROM orders
    WHERE cancelled_at >= %(start)s AND cancelled_at < %(end)s AND NOT is_test
    GROUP BY event_id
),
expired AS (
    SELECT event_id, count(*) AS orders_expired
    FROM orders
    WHERE expired_at >= %(start)s AND expired_at < %(end)s AND NOT is_test
    GROUP BY event_id
),
sold AS (
    SELECT t.event_id,
           count(*) FILTER (WHERE y.kind = 'admission' AND NOT t.is_comp AND t.charged_minor > 0)
               AS tickets_paid,
           count(*) FILTER (WHERE y.kind = 'admission' AND NOT t.is_comp AND t.charged_minor = 0)
               AS tickets_free,
           count(*) FILTER (WHERE y.kind = 'admission' AND t.is_comp) AS tickets_comp,
           sum(t.list_price_minor) AS face_value,
           sum(t.list_price_minor - t.charged_minor) AS discounts
    FROM tickets AS t
    JOIN ticket_types AS y USING (ticket_type_id)
    WHERE t.issued_at >= %(start)s AND t.issued_at < %(end)s AND NOT t.is_test
    GROUP BY t.event_id
),
ticket_cancelled AS (
    SELECT t.event_id, count(*) FILTER (WHERE y.kind = 'admission') AS tickets_cancelled,
           sum(t.unsold_minor - t.retained_fee_minor) AS sale_reversals
    FROM tickets AS t
    JOIN ticket_types AS y USING (ticket_type_id)
    WHERE t.cancelled_at >= %(start)s AND t.cancelled_at < %(end)s AND NOT t.is_test
    GROUP BY t.event_id
),
paid AS (
    SELECT event_id, count(*) AS payments_count, sum(amount_minor) AS payments,
           sum(processing_fee_minor) AS processing_fees
    FROM payments
    WHERE confirmed_at >= %(start)s AND confirmed_at < %(end)s AND NOT is_test
    GROUP BY event_id
),
refunded AS (
    SELECT event_id, count(*) AS refunds_count, sum(amount_minor) AS refunds,
           sum(platform_fee_returned_minor) AS platform_fees,
           sum(processing_fee_returned_minor) AS processing_fees
    FROM refunds
    WHERE succeeded_at >= %(start)s AND succeeded_at < %(end)s AND NOT is_test
    GROUP BY event_id
),
withdrawn AS (
    SELECT event_id, sum(amount_minor) AS chargebacks, sum(fee_minor) AS processing_fees
    FROM disputes
    WHERE withdrawn_at >= %(start)s AND withdrawn_at < %(end)s AND NOT is_test
    GROUP BY event_id
),
reinstated AS (
    SELECT event_id, sum(amount_minor) AS chargebacks
    FROM disputes
    WHERE reinstated_at >= %(start)s AND reinstated_at < %(end)s AND NOT is_test
    GROUP BY event_id
),
scanned AS (
    SELECT c.event_id, count(*) FILTER (WHERE y.kind = 'admission') AS check_ins
    FROM check_ins AS c
    JOIN ticket_types AS y USING (ticket_type_id)
    WHERE c.scanned_at >= %(start)s AND c.scanned_at < %(end)s AND NOT c.is_test
    GROUP BY c.event_id
),
started AS (
    SELECT event_id, count(*) AS checkouts
    FROM checkouts
    WHERE started_at >= %(start)s AND started_at < %(end)s AND NOT is_test
    GROUP BY event_id
),
viewed AS (
    SELECT event_id, sum(page_views) AS page_views, sum(visitors) AS visitors
    FROM page_views
    WHERE view_date = %(day)s
    GROUP BY event_id
),
summed AS (
    SELECT e.organizer_id, e.event_id, e.currency,
           coalesce(placed.requests, 0) AS requests,
           coalesce(started.checkouts, 0) AS checkouts,
           coalesce(viewed.page_views, 0) AS page_views,
           coalesce(viewed.visitors, 0) AS visitors,
           coalesce(completed.orders, 0) AS orders,
           coalesce(completed.free_orders, 0) AS free_orders,
           coalesce(order_cancelled.orders_cancelled, 0) AS orders_cancelled,
           coalesce(expired.orders_expired, 0) AS orders_expired,
           coalesce(completed.test_orders, 0) AS test_orders,
           coalesce(completed.buyers, 0) AS buyers,
           coalesce(sold.tickets_paid, 0) AS tickets_paid,
           coalesce(sold.tickets_free, 0) AS tickets_free,
           coalesce(sold.tickets_comp, 0) AS tickets_comp,
           coalesce(ticket_cancelled.tickets_cancelled, 0) AS tickets_cancelled,
           coalesce(scanned.check_ins, 0) AS check_ins,
           coalesce(sold.face_value, 0) AS face_value,
           coalesce(sold.discounts, 0) + coalesce(completed.discounts, 0) AS discounts,
           coalesce(completed.buyer_fees, 0) AS buyer_fees,
           coalesce(completed.tax, 0) AS tax,
           coalesce(ticket_cancelled.sale_reversals, 0) AS sale_reversals,
           coalesce(paid.payments, 0) AS payments,
           coalesce(paid.payments_count, 0) AS payments_count,
           coalesce(refunded.refunds, 0) AS refunds,
           coalesce(refunded.refunds_count, 0) AS refunds_count,
           coalesce(withdrawn.chargebacks, 0) - coalesce(reinstated.chargebacks, 0) AS chargebacks,
           coalesce(completed.platform_fees, 0) - coalesce(refunded.platform_fees, 0)
               AS platform_fees,
           coalesce(paid.processing_fees, 0) + coalesce(withdrawn.processing_fees, 0)
               - coalesce(refunded.processing_fees, 0) AS processing_fees
    FROM events AS e
    LEFT JOIN placed USING (event_id)
    LEFT JOIN completed USING (event_id)
    LEFT JOIN order_cancelled USING (event_id)
    LEFT JOIN expired USING (event_id)
    LEFT JOIN sold USING (event_id)
    LEFT JOIN ticket_cancelled USING (event_id)
    LEFT JOIN paid USING (event_id)
    LEFT JOIN refunded USING (event_id)
    LEFT JOIN withdrawn USING (event_id)
    LEFT JOIN reinstated USING (event_id)
    LEFT JOIN scanned USING (event_id)
    LEFT JOIN started USING (event_id)
    LEFT JOIN viewed USING (event_id)
    WHERE (e.status <> 'draft'
           AND coalesce(e.on_sale_at < %(end)s, true)
           AND coalesce(coalesce(e.ends_at, e.starts_at) >= %(start)s, true)
           AND coalesce(e.cancelled_at >= %(start)s, true))
       OR num_nonnulls(placed.event_id, completed.event_id, order_cancelled.event_id,
                       expired.event_id, sold.event_id, ticket_cancelled.event_id, paid.event_id,
                       refunded.event_id, withdrawn.event_id, reinstated.event_id, scanned.event_id,
                       started.event_id, viewed.event_id) > 0
)
SELECT %(day)s, organizer_id, event_id, currency,
       requests, checkouts, page_views, visitors, orders, free_orders, orders - free_orders,
       orders_cancelled, orders_expired, test_orders, buyers,
       tickets_paid, tickets_free, tickets_comp, tickets_paid + tickets_free + tickets_comp,
       tickets_cancelled, check_ins,
       face_value, discounts, face_value - discounts, buyer_fees, tax,
       face_value - discounts + buyer_fees + tax,
       sale_reversals, face_value - discounts + buyer_fees + tax - sale_reversals,
       payments, payments_count, refunds, refunds_count, chargebacks,
       payments - refunds - chargebacks,
       platform_fees, processing_fees,
       payments - refunds - chargebacks - platform_fees - processing_fees
FROM summed
