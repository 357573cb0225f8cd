-- The orders of a run of days in the order they were placed. Every day on which something is on sale all
-- day gets its midnight cases: 1 placed at midnight, 2 within the minute after it, 3 placed in the last
-- minute and completed at midnight sharp, 4 completed in the day's last microsecond, 5 paid after midnight.
WITH drawn AS (
    SELECT g.event_id, g.first_draw + r.i AS draw, g.from_us, g.to_us, d.starts_us, d.ends_us,
           CASE WHEN g.is_whole_day AND g.first_of_day + r.i < 5 THEN g.first_of_day + r.i + 1 ELSE 0 END AS edge,
           CASE WHEN g.idx = e.on_sale_day AND u('launch rush', g.first_draw + r.i) < 0.7
                THEN e.on_sale_at + hours(1.5 * exponential('launch', g.first_draw + r.i))
                ELSE d.starts_us + second_of_day(g.first_draw + r.i) END AS wanted_at
    FROM grid AS g
    JOIN event AS e USING (event_id)
    JOIN day AS d USING (idx)
    CROSS JOIN unnest(range(g.orders)) AS r (i)
    WHERE g.idx BETWEEN getvariable('first_idx') AND getvariable('last_idx')
), timed AS (
    SELECT event_id, draw,
           CASE edge WHEN 1 THEN starts_us
                     WHEN 2 THEN starts_us + seconds(60 * u('edge', draw))
                     WHEN 3 THEN ends_us - seconds(60 - 39 * u('edge', draw))
                     WHEN 4 THEN ends_us - seconds(120 - 50 * u('edge', draw))
                     WHEN 5 THEN ends_us - 1 - seconds(60 * u('edge', draw))
                     ELSE CASE WHEN wanted_at >= from_us AND wanted_at < to_us THEN wanted_at
                               ELSE from_us + floor((to_us - from_us) * u('any time', draw))::BIGINT END END AS placed_at,
           CASE edge WHEN 3 THEN ends_us WHEN 4 THEN ends_us - 1
                     WHEN 5 THEN ends_us + seconds(16 + 40 * u('edge', draw)) END AS edge_completed_at
    FROM drawn
)
SELECT getvariable('next_order_id') - 1 + row_number() OVER (ORDER BY placed_at, draw) AS order_id,
       event_id, placed_at, edge_completed_at,
       NULL::BIGINT AS known_customer_id, NULL::VARCHAR AS known_channel, NULL::BOOLEAN AS known_test,
       false AS is_settling
FROM timed
ORDER BY order_id
