-- Who buys what through which channel. A new buyer gets the next customer id; a returning one is any
-- earlier customer, recent ones more often; most people at the door stay anonymous.
WITH drawn AS (
    SELECT a.*, e.is_mega, e.is_free, e.has_add_on, e.has_donation, e.category, e.currency, e.market,
           coalesce(known_test, u('test order', order_id) < 0.005) AS is_test,
           NOT e.is_free AND u('comp order', order_id) < 0.012 AS is_comp,
           coalesce(known_channel, CASE
               WHEN u('channel', order_id) < CASE WHEN placed_at > e.starts_at - hours(10) THEN 0.45 ELSE 0.06 END THEN 'box_office'
               ELSE pick(['web', 'web', 'web', 'web', 'web', 'web', 'web', 'web', 'web', 'android', 'android', 'android', 'android',
                          'android', 'android', 'ios', 'ios', 'ios', 'ios', 'api'], u('online channel', order_id)) END) AS channel,
           (placed_at - e.on_sale_at) / (e.starts_at - e.on_sale_at) AS sale_elapsed,
           u('tier', order_id) AS tier, u('party', order_id) AS party
    FROM arrivals AS a JOIN event AS e USING (event_id)
), buyers AS (
    SELECT *, known_customer_id IS NULL AND NOT is_settling
              AND NOT (channel = 'box_office' AND u('anonymous', order_id) < 0.6)
              AND (u('new customer', order_id) < 0.55 OR getvariable('next_customer_id') = 1 AND order_id = getvariable('next_order_id'))
              AS is_new_customer,
           channel = 'box_office' AND u('anonymous', order_id) < 0.6 AS is_anonymous
    FROM drawn
), counted AS (
    SELECT *, getvariable('next_customer_id') - 1
              + sum(is_new_customer::BIGINT) OVER (ORDER BY order_id ROWS UNBOUNDED PRECEDING)::BIGINT AS customers
    FROM buyers
)
SELECT order_id, event_id, placed_at, edge_completed_at, is_settling, currency, market, is_test, is_comp, channel, is_new_customer,
       CASE WHEN is_settling THEN known_customer_id
            WHEN is_anonymous OR customers = 0 THEN NULL
            WHEN is_new_customer THEN customers
            ELSE greatest(1, ceil(customers * (1 - pow(u('returning', order_id), 1.6))))::BIGINT END AS customer_id,
       CASE WHEN is_mega THEN 2 + floor(5 * party)::BIGINT
            WHEN party < 0.60 THEN 1 WHEN party < 0.88 THEN 2 WHEN party < 0.93 THEN 3 WHEN party < 0.98 THEN 4
            ELSE 5 + floor((party - 0.98) * 299)::BIGINT END AS admissions,
       (has_add_on AND NOT is_comp AND u('add-on', order_id) < 0.12)::BIGINT AS add_ons,
       (has_donation AND NOT is_comp AND u('donation', order_id) < 0.2)::BIGINT AS donations,
       CASE WHEN is_free THEN 2 WHEN tier < 0.12 THEN 3
            WHEN tier < 0.35 AND category IN ('conference', 'theatre') THEN 4
            WHEN sale_elapsed < 0.25 AND tier < 0.9 THEN 1 ELSE 2 END AS slot
FROM counted
ORDER BY order_id
