-- Money going back: for each cancellation what was un-sold less what is retained, hours to weeks later,
-- for a few after a failed attempt; and goodwill refunds that cancel nothing. What has been cancelled by
-- `until` has been asked for by then.
WITH owed AS (
    SELECT x.order_id, c.cancelled_at AS decided_at, sum(x.unsold_minor - x.retained_fee_minor)::BIGINT AS amount_minor,
           sum(x.retained_fee_minor)::BIGINT AS retained_fee_minor,
           CASE WHEN c.is_event_cancelled THEN 'event cancelled' ELSE 'requested by buyer' END AS reason, c.is_event_cancelled
    FROM cancelled_lines AS x JOIN cancellations AS c USING (order_id)
    GROUP BY ALL
    UNION ALL
    SELECT order_id, completed_at + hours(24 * (1 + 20 * u('goodwill lag', order_id))), total_minor * 20 // 100, 0, 'goodwill', false
    FROM order_plan ANTI JOIN cancellations USING (order_id)
    WHERE completed_at IS NOT NULL AND u('goodwill', order_id) < 0.003
), dated AS (
    SELECT w.*, o.event_id, o.provider, o.instrument, o.currency, o.is_test, o.total_minor, o.platform_fee_minor, o.fee_ppm, p.payment_id,
           CASE WHEN decided_at > getvariable('until') THEN decided_at
                ELSE least(decided_at + minutes(10 * u('refund asked', order_id)), getvariable('until')) END AS asked_at,
           hours(22 * exp(1.1 * normal('refund lag', order_id))) + seconds(30) AS lag, u('refund fails', order_id) < 0.06 AS fails_first
    FROM owed AS w
    JOIN order_plan AS o USING (order_id)
    LEFT JOIN (SELECT order_id, payment_id FROM payments WHERE status = 'confirmed' AND parts = 1) AS p USING (order_id)
    WHERE amount_minor > 0
), tried AS (
    SELECT *, 1 AS attempt, asked_at AS requested_at, NULL::BIGINT AS paid_at, asked_at + lag // 4 AS gave_up_at FROM dated WHERE fails_first
    UNION ALL
    SELECT *, 2, CASE WHEN fails_first THEN asked_at + lag // 2 ELSE asked_at END, asked_at + lag, NULL FROM dated
)
SELECT order_id, payment_id, event_id, provider, instrument,
       CASE WHEN paid_at <= getvariable('until') THEN 'succeeded' WHEN gave_up_at <= getvariable('until') THEN 'failed' ELSE 'requested'
            END AS status,
       currency, amount_minor, retained_fee_minor,
       CASE WHEN is_event_cancelled THEN (platform_fee_minor::HUGEINT * amount_minor // total_minor)::BIGINT ELSE 0
            END AS platform_fee_returned_minor,
       CASE WHEN provider = 'CARD' AND u('processing returned', order_id) < 0.3 THEN amount_minor * fee_ppm // 2000000 ELSE 0
            END AS processing_fee_returned_minor,
       reason, is_test, requested_at,
       CASE WHEN paid_at <= getvariable('until') THEN paid_at END AS succeeded_at,
       CASE WHEN gave_up_at <= getvariable('until') THEN gave_up_at END AS failed_at,
       edited_at(CASE WHEN coalesce(paid_at, gave_up_at) <= getvariable('until') THEN coalesce(paid_at, gave_up_at) ELSE requested_at END,
                 0.012, order_id * 4 + attempt) AS updated_at
FROM tried
WHERE requested_at <= getvariable('until')
