-- Disputed money: what banks withdrew and what they gave back on each reporting day.
WITH days (business_date, starts_at, ends_at) AS NOT MATERIALIZED (:days),
c AS NOT MATERIALIZED (
    SELECT *, dispute_id::text <> ALL (:quarantined) AS is_used,
           dispute_id::text <> ALL (:quarantined) AND NOT is_test AS is_real
    FROM disputes
),
withdrawn AS (
    SELECT d.business_date, c.event_id, c.currency, count(*) AS row_count,
           max(c.updated_at) FILTER (WHERE is_used) AS recorded,
           sum(amount_minor) FILTER (WHERE is_real) AS amount,
           sum(fee_minor) FILTER (WHERE is_real) AS fee
    FROM days d JOIN c ON c.withdrawn_at >= d.starts_at AND c.withdrawn_at < d.ends_at
    WHERE c.withdrawn_at >= :range_start AND c.withdrawn_at < :range_end
    GROUP BY 1, 2, 3
),
reinstated AS (
    -- Money withdrawn and given back on one day is one row of that day.
    SELECT d.business_date, c.event_id, c.currency,
           count(*) FILTER (
               WHERE (c.withdrawn_at >= d.starts_at AND c.withdrawn_at < d.ends_at) IS NOT TRUE
           ) AS row_count,
           max(c.updated_at) FILTER (WHERE is_used) AS recorded,
           sum(amount_minor) FILTER (WHERE is_real) AS amount
    FROM days d JOIN c ON c.reinstated_at >= d.starts_at AND c.reinstated_at < d.ends_at
    WHERE c.reinstated_at >= :range_start AND c.reinstated_at < :range_end
    GROUP BY 1, 2, 3
),
totals AS (
    SELECT business_date, event_id, currency, 'chargebacks' AS measure, amount AS value
    FROM withdrawn
    UNION ALL
    SELECT business_date, event_id, currency, 'processing_fees', fee FROM withdrawn
    UNION ALL
    SELECT business_date, event_id, currency, 'chargebacks', -amount FROM reinstated
),
touched AS (
    SELECT business_date, row_count, recorded FROM withdrawn
    UNION ALL
    SELECT business_date, row_count, recorded FROM reinstated
)
SELECT t.business_date, e.organizer_id, t.currency, t.measure, sum(t.value)::bigint AS value
FROM totals t JOIN events e ON e.event_id = t.event_id
GROUP BY 1, 2, 3, 4
UNION ALL
SELECT business_date, NULL, NULL, 'rows', sum(row_count)::bigint FROM touched GROUP BY 1
UNION ALL
SELECT business_date, NULL, NULL, 'recorded_until',
       (extract(epoch FROM max(recorded)) * 1000000)::bigint
FROM touched GROUP BY 1
