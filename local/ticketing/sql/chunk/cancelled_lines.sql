-- What each cancelled ticket un-sells: the order's total shared over its tickets by charged price, as
-- differences of rounded-down running totals, so that the shares of an order add up to its total.
WITH running AS (
    SELECT l.order_id, l.seq, c.cancelled_lines, c.cancelled_at, c.retained_percent, o.total_minor::HUGEINT AS total, o.charged,
           l.charged_minor, sum(l.charged_minor) OVER (PARTITION BY l.order_id ORDER BY l.seq)::HUGEINT AS upto
    FROM lines AS l
    JOIN cancellations AS c USING (order_id)
    JOIN order_plan AS o USING (order_id)
), shared AS (
    SELECT *, CASE WHEN charged = 0 THEN 0
                   ELSE (total * upto) // charged - (total * (upto - charged_minor)) // charged END::BIGINT AS unsold_minor
    FROM running
)
SELECT order_id, seq, cancelled_at, unsold_minor, unsold_minor * retained_percent // 100 AS retained_fee_minor
FROM shared
WHERE seq < cancelled_lines
ORDER BY order_id, seq
