-- Admissions scanned at the gate on each reporting day, in the currency of their event.
WITH days (business_date, starts_at, ends_at) AS NOT MATERIALIZED (:days),
c AS NOT MATERIALIZED (
    SELECT *, check_in_id::text <> ALL (:quarantined) AS is_used,
           check_in_id::text <> ALL (:quarantined) AND NOT is_test AS is_real
    FROM check_ins
),
scanned AS (
    SELECT d.business_date, c.event_id, c.ticket_type_id, count(*) AS row_count,
           max(c.updated_at) FILTER (WHERE is_used) AS recorded,
           count(*) FILTER (WHERE is_real) AS scans
    FROM days d JOIN c ON c.scanned_at >= d.starts_at AND c.scanned_at < d.ends_at
    WHERE c.scanned_at >= :range_start AND c.scanned_at < :range_end
    GROUP BY 1, 2, 3
)
SELECT s.business_date, e.organizer_id, e.currency, 'check_ins' AS measure,
       sum(s.scans)::bigint AS value
FROM scanned s
JOIN ticket_types y ON y.ticket_type_id = s.ticket_type_id AND y.kind = 'admission'
JOIN events e ON e.event_id = s.event_id
GROUP BY 1, 2, 3
UNION ALL
SELECT business_date, NULL, NULL, 'rows', sum(row_count)::bigint FROM scanned GROUP BY 1
UNION ALL
SELECT business_date, NULL, NULL, 'recorded_until',
       (extract(epoch FROM max(recorded)) * 1000000)::bigint
FROM scanned GROUP BY 1
