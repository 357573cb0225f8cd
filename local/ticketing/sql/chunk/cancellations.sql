-- Completed orders whose tickets are cancelled: everybody's when the event is, else a buyer's change of
-- mind, hours to weeks later and at most a week after the event; all tickets or the first few of them.
WITH drawn AS (
    SELECT order_id, completed_at, starts_at, line_count, event_cancelled_at IS NOT NULL AS is_event_cancelled,
           CASE WHEN event_cancelled_at IS NOT NULL
                THEN event_cancelled_at + minutes(5 + 360 * exponential('mass cancellation', order_id))
                WHEN u('cancellation', order_id) < 0.045
                THEN completed_at + minutes(20) + hours(36 * exp(1.4 * normal('cancellation lag', order_id))) END AS cancelled_at,
           u('retained', order_id) AS retained
    FROM order_plan
    WHERE completed_at IS NOT NULL
)
SELECT order_id, is_event_cancelled, cancelled_at,
       CASE WHEN is_event_cancelled OR u('whole order', order_id) < 0.6 THEN line_count
            ELSE 1 + floor(u('part of order', order_id) * (line_count - 1))::BIGINT END AS cancelled_lines,
       line_count,
       CASE WHEN is_event_cancelled OR retained < 0.55 THEN 0 WHEN retained < 0.85 THEN 10 WHEN retained < 0.97 THEN 25 ELSE 100
            END AS retained_percent
FROM drawn
WHERE cancelled_at <= getvariable('until') AND (is_event_cancelled OR cancelled_at < starts_at + hours(168))
ORDER BY order_id
