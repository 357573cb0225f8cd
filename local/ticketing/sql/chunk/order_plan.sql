-- Each order's money and fate. An order that never completes keeps the cart's intended total; what has
-- not happened by `until` is still pending; what is open when its event is cancelled is cancelled. How long buyers take to pay depends on how they pay.
WITH priced AS (
    SELECT order_id, sum(charged_minor)::BIGINT AS charged, (count(*) FILTER (charged_minor > 0))::BIGINT AS paid_lines,
           coalesce(sum(charged_minor) FILTER (kind <> 'donation'), 0)::BIGINT AS reducible, count(*)::BIGINT AS line_count
    FROM lines
    GROUP BY order_id
), discounted AS (
    SELECT c.*, p.charged, p.paid_lines, p.line_count,
           CASE WHEN u('promo', order_id) < 0.08
                THEN reducible * pick([5, 10, 10, 10, 15, 20, 20, 25, 50, 100], u('promo percent', order_id)) // 100
                ELSE 0 END AS discount_minor
    FROM carts AS c JOIN priced AS p USING (order_id)
), feed AS (
    SELECT d.*, e.tax_percent, e.cancelled_at AS event_cancelled_at, e.starts_at,
           charged - discount_minor AS net_minor,
           CASE WHEN e.has_buyer_fees AND channel <> 'box_office' AND charged > discount_minor
                THEN (charged - discount_minor) * 3 // 100 + paid_lines * (poster_price(100.0, d.currency) // 10)
                ELSE 0 END AS buyer_fees_minor
    FROM discounted AS d JOIN event AS e USING (event_id)
), taxed AS (
    SELECT *, (net_minor + buyer_fees_minor) * tax_percent // 100 AS tax_minor,
           net_minor + buyer_fees_minor + (net_minor + buyer_fees_minor) * tax_percent // 100 AS total_minor
    FROM feed
), paid AS (
    SELECT t.*, CASE WHEN at_the_till THEN 'CASH' ELSE m.provider END AS provider,
           CASE WHEN at_the_till THEN 'cash' ELSE m.instrument END AS instrument,
           CASE WHEN at_the_till THEN 0 ELSE m.fee_ppm END AS fee_ppm,
           CASE WHEN at_the_till THEN 0 WHEN u('failures', t.order_id) < 0.03 THEN 2 WHEN u('failures', t.order_id) < 0.15 THEN 1 ELSE 0 END AS failures,
           CASE WHEN total_minor = 0 AND u('outcome', t.order_id) < 0.97 OR is_comp OR edge_completed_at IS NOT NULL
                     OR u('outcome', t.order_id) < 0.85 THEN 'completed'
                WHEN u('outcome', t.order_id) < 0.945 THEN 'expired' ELSE 'cancelled' END AS fate
    FROM (SELECT *, channel = 'box_office' AND u('till', order_id) < 0.6 AS at_the_till FROM taxed) AS t
    JOIN pay_method AS m ON m.market = t.market AND m.percentile = floor(100 * u('pay method', t.order_id))::BIGINT
), dated AS (
    SELECT *, CASE WHEN fate <> 'completed' THEN NULL
                   ELSE coalesce(edge_completed_at, placed_at + CASE
                       WHEN total_minor = 0 THEN seconds(1 + 2 * u('pace', order_id))
                       WHEN instrument = 'bank' AND placed_at < starts_at - hours(48) THEN hours(1 + 35 * u('pace', order_id))
                       WHEN instrument = 'cash' THEN seconds(15 + 30 * u('pace', order_id))
                       ELSE seconds(16 + 60 * failures + 60 * exponential('pace', order_id)) END) END AS will_complete_at,
           CASE WHEN fate = 'expired' THEN placed_at + minutes(30) END AS will_expire_at,
           CASE WHEN fate = 'cancelled' THEN placed_at + seconds(30 + 500 * exponential('give up', order_id)) END AS will_cancel_at
    FROM paid
), cut AS (
    SELECT * REPLACE (CASE WHEN will_complete_at < event_cancelled_at OR event_cancelled_at IS NULL THEN will_complete_at END AS will_complete_at,
                      CASE WHEN will_complete_at >= event_cancelled_at THEN event_cancelled_at ELSE will_cancel_at END AS will_cancel_at)
    FROM dated
)
SELECT d.* EXCLUDE (fate, will_complete_at, will_expire_at, will_cancel_at),
       CASE WHEN will_complete_at <= getvariable('until') THEN will_complete_at END AS completed_at,
       CASE WHEN will_expire_at <= getvariable('until') THEN will_expire_at END AS expired_at,
       CASE WHEN will_cancel_at <= getvariable('until') THEN will_cancel_at END AS abandoned_at,
       CASE WHEN will_complete_at IS NULL OR will_complete_at > getvariable('until') OR net_minor = 0 THEN 0
            WHEN will_complete_at < f.changed_at THEN net_minor * old_rate_ppm // 1000000 + paid_lines * old_per_ticket
            ELSE net_minor * new_rate_ppm // 1000000 + paid_lines * new_per_ticket END AS platform_fee_minor
FROM cut AS d JOIN event_fees AS f USING (event_id)
ORDER BY order_id
