-- Checkouts opened online: one before each online order, and as many again abandoned that 45% never convert.
WITH opened AS (
    SELECT event_id, order_id, channel, is_test, placed_at - seconds(20 + 90 * exponential('checkout', order_id)) AS wanted_at,
           placed_at, completed_at, order_id * 2 AS k
    FROM order_plan
    WHERE channel IN ('web', 'ios', 'android') AND NOT is_settling
    UNION ALL
    SELECT event_id, NULL, pick(['web', 'web', 'android', 'ios'], u('abandoned channel', order_id)), is_test,
           placed_at - minutes(180 * u('abandoned', order_id)), placed_at, NULL, order_id * 2 + 1
    FROM order_plan
    WHERE u('abandons', order_id) < 0.46 AND NOT is_settling
), dated AS (
    SELECT o.*, least(placed_at, greatest(wanted_at, e.on_sale_at, getvariable('first_instant'))) AS started_at
    FROM opened AS o JOIN event AS e USING (event_id)
)
SELECT getvariable('next_checkout_id') - 1 + row_number() OVER (ORDER BY k) AS checkout_id,
       event_id, order_id, channel, is_test, started_at, completed_at AS converted_at,
       edited_at(coalesce(completed_at, started_at), 0.002, k) AS updated_at
FROM dated
ORDER BY checkout_id
