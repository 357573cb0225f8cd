-- The exact number of orders per event and day. However small the platform, every day has a few orders at
-- one event on sale all day (the floor), enough for its midnight cases. first_draw numbers the orders through,
-- day by day, and first_of_day within the day. Events on sale the whole day come first: they take the midnight cases.
WITH shared AS (
    SELECT event_id, is_mega, idx, from_us, to_us, is_whole_day, o.orders, weight,
           sum(weight) OVER (PARTITION BY event_id ORDER BY idx)::HUGEINT AS upto,
           sum(weight) OVER (PARTITION BY event_id)::HUGEINT AS total
    FROM demand JOIN event_orders AS o USING (event_id)
), counted AS (
    SELECT event_id, idx, from_us, to_us, is_whole_day,
           ((upto * orders) // total - ((upto - weight) * orders) // total)::BIGINT
           + CASE WHEN is_whole_day AND row_number() OVER (PARTITION BY idx ORDER BY NOT is_whole_day, is_mega, weight DESC, event_id) = 1
                  THEN getvariable('day_floor') ELSE 0 END AS orders
    FROM shared
), numbered AS (
    SELECT *, sum(orders) OVER (PARTITION BY idx ORDER BY NOT is_whole_day,
                                u('grid order', event_id * 100000 + idx), event_id) - orders AS first_of_day
    FROM counted
), starts AS (
    SELECT idx, sum(sum(orders)) OVER (ORDER BY idx) - sum(orders) AS day_start FROM counted GROUP BY idx
)
SELECT idx, event_id, from_us, to_us, is_whole_day, orders, first_of_day::BIGINT AS first_of_day,
       (day_start + first_of_day)::BIGINT AS first_draw
FROM numbered JOIN starts USING (idx)
ORDER BY idx, first_draw
