-- The exact number of orders per event, before the day's floor (see grid.sql): the mega event's is given,
-- the rest is shared by weight.
WITH totals AS (
    SELECT event_id, is_mega, sum(weight)::HUGEINT AS weight,
           sum(CASE WHEN is_mega THEN 0 ELSE sum(weight)::HUGEINT END) OVER (ORDER BY event_id) AS upto
    FROM demand
    GROUP BY event_id, is_mega
), whole AS (
    SELECT *, max(upto) OVER () AS total,
           getvariable('orders') - getvariable('mega_orders')
           - getvariable('day_floor') * (SELECT count(DISTINCT idx) FROM demand WHERE is_whole_day) AS others
    FROM totals
)
SELECT event_id,
       CASE WHEN is_mega THEN getvariable('mega_orders')
            ELSE (upto * others) // total - ((upto - weight) * others) // total
       END::BIGINT AS orders
FROM whole
ORDER BY event_id
