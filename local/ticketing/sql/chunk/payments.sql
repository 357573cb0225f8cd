-- Attempts to pay, in order: failures, then the confirmed payment (a few are paid in two parts), seconds
-- before the order completes. Half of the orders that never complete tried once in vain; an attempt of
-- an order still open is pending.
WITH attempts AS (
    SELECT *, coalesce(completed_at, expired_at, abandoned_at) IS NULL AS is_pending,
           CASE WHEN completed_at IS NULL THEN (instrument <> 'cash' AND u('vain attempt', order_id) < 0.5)::BIGINT ELSE failures END AS failed,
           CASE WHEN completed_at IS NULL THEN 0 WHEN total_minor >= 2 AND u('two parts', order_id) < 0.004 THEN 2 ELSE 1 END AS parts,
           completed_at - seconds(1 + 4 * u('confirmation', order_id)) AS paid_at
    FROM order_plan
    WHERE total_minor > 0
), numbered AS (
    SELECT a.*, r.n, r.n < a.failed AS is_unpaid,
           CASE WHEN completed_at IS NULL THEN least(placed_at + seconds(8 + 15 * u('vain pace', order_id)), expired_at, abandoned_at)
                ELSE placed_at + (paid_at - placed_at) * (1 + r.n) // (failed + parts + 1) END AS created_at
    FROM attempts AS a CROSS JOIN unnest(range(a.failed + a.parts)) AS r (n)
), valued AS (
    SELECT *, CASE WHEN parts = 2 AND NOT is_unpaid
                   THEN CASE WHEN n = failed THEN total_minor // 2 ELSE total_minor - total_minor // 2 END
                   ELSE total_minor END AS amount_minor
    FROM numbered
)
SELECT getvariable('next_payment_id') - 1 + row_number() OVER (ORDER BY order_id, n) AS payment_id, order_id, event_id, provider, instrument,
       CASE WHEN is_pending THEN 'pending' WHEN is_unpaid THEN 'failed' ELSE 'confirmed' END AS status, currency, amount_minor,
       CASE WHEN is_unpaid THEN 0 ELSE amount_minor * fee_ppm // 1000000 END AS processing_fee_minor, is_test, created_at,
       CASE WHEN NOT is_unpaid THEN paid_at END AS confirmed_at,
       CASE WHEN is_pending THEN created_at
            WHEN is_unpaid THEN least(created_at + seconds(20), coalesce(completed_at, expired_at, abandoned_at))
            ELSE edited_at(paid_at, 0.003, order_id * 4 + n) END AS updated_at,
       parts
FROM valued
WHERE created_at <= getvariable('until')
ORDER BY payment_id
