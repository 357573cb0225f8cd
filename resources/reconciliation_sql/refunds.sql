-- Refunds that succeeded on each reporting day, and the fees they return.
WITH days (business_date, starts_at, ends_at) AS NOT MATERIALIZED (:days),
r AS NOT MATERIALIZED (
    SELECT *, refund_id::text <> ALL (:quarantined) AS is_used,
           refund_id::text <> ALL (:quarantined) AND NOT is_test AS is_real
    FROM refunds
),
succeeded AS (
    SELECT d.business_date, r.event_id, r.currency, count(*) AS row_count,
           max(r.updated_at) FILTER (WHERE is_used) AS recorded,
           count(*) FILTER (WHERE is_real) AS refunds,
           sum(amount_minor) FILTER (WHERE is_real) AS amount,
           sum(platform_fee_returned_minor) FILTER (WHERE is_real) AS platform_fee,
           sum(processing_fee_returned_minor) FILTER (WHERE is_real) AS processing_fee
    FROM days d JOIN r ON r.succeeded_at >= d.starts_at AND r.succeeded_at < d.ends_at
    WHERE r.succeeded_at >= :range_start AND r.succeeded_at < :range_end
    GROUP BY 1, 2, 3
)
SELECT s.business_date, e.organizer_id, s.currency, m.measure, sum(m.value)::bigint AS value
FROM succeeded s JOIN events e ON e.event_id = s.event_id, LATERAL (VALUES
    ('refunds', amount), ('refunds_count', refunds), ('platform_fees', -platform_fee),
    ('processing_fees', -processing_fee)
) AS m (measure, value)
GROUP BY 1, 2, 3, 4
UNION ALL
SELECT business_date, NULL, NULL, 'rows', sum(row_count)::bigint FROM succeeded GROUP BY 1
UNION ALL
SELECT business_date, NULL, NULL, 'recorded_until',
       (extract(epoch FROM max(recorded)) * 1000000)::bigint
FROM succeeded GROUP BY 1
