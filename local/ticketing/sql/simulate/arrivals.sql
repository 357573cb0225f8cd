-- The orders placed since the last tick, and the open ones, which may complete or lapse in this tick. An
-- event takes at most as many orders as its places allow if each wanted ten.
WITH wanted AS (
    SELECT getvariable('next_order_id') + i AS draw FROM range(getvariable('new_orders')) AS r (i)
), chosen AS (
    SELECT w.draw, o.event_id, o.places,
           getvariable('placed_from') + 1
               + floor((getvariable('until') - getvariable('placed_from')) * u('live placed', w.draw))::BIGINT AS placed_at
    FROM wanted AS w JOIN offer AS o ON u('live event', w.draw) >= o.low AND u('live event', w.draw) < o.high
), fitting AS (
    SELECT *, row_number() OVER (PARTITION BY event_id ORDER BY draw) AS nth FROM chosen
)
SELECT getvariable('next_order_id') - 1 + row_number() OVER (ORDER BY placed_at, draw) AS order_id, event_id, placed_at,
       NULL::BIGINT AS edge_completed_at, NULL::BIGINT AS known_customer_id, NULL::VARCHAR AS known_channel,
       NULL::BOOLEAN AS known_test, false AS is_settling
FROM fitting
WHERE nth * 10 <= places
UNION ALL
SELECT order_id, event_id, epoch_us(placed_at), NULL, customer_id, channel, is_test, true
FROM postgres_query('platform', $$
    SELECT order_id, event_id, placed_at, customer_id, channel, is_test FROM orders WHERE status = 'pending' $$)
ORDER BY order_id
