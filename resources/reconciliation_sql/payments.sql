-- Payments confirmed on each reporting day.
WITH days (business_date, starts_at, ends_at) AS NOT MATERIALIZED (:days),
p AS NOT MATERIALIZED (
    SELECT *, payment_id::text <> ALL (:quarantined) AS is_used,
           payment_id::text <> ALL (:quarantined) AND NOT is_test AS is_real
    FROM payments
),
confirmed AS (
    SELECT d.business_date, p.event_id, p.currency, count(*) AS row_count,
           max(p.updated_at) FILTER (WHERE is_used) AS recorded,
           count(*) FILTER (WHERE is_real) AS payments,
           sum(amount_minor) FILTER (WHERE is_real) AS amount,
           sum(processing_fee_minor) FILTER (WHERE is_real) AS fee
    FROM days d JOIN p ON p.confirmed_at >= d.starts_at AND p.confirmed_at < d.ends_at
    WHERE p.confirmed_at >= :range_start AND p.confirmed_at < :range_end
    GROUP BY 1, 2, 3
)
SELECT c.business_date, e.organizer_id, c.currency, m.measure, sum(m.value)::bigint AS value
FROM confirmed c JOIN events e ON e.event_id = c.event_id, LATERAL (VALUES
    ('payments', amount), ('payments_count', payments), ('processing_fees', fee)
) AS m (measure, value)
GROUP BY 1, 2, 3, 4
UNION ALL
SELECT business_date, NULL, NULL, 'rows', sum(row_count)::bigint FROM confirmed GROUP BY 1
UNION ALL
SELECT business_date, NULL, NULL, 'recorded_until',
       (extract(epoch FROM max(recorded)) * 1000000)::bigint
FROM confirmed GROUP BY 1
