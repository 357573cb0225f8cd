-- Checkouts started on each reporting day, in the currency of their event.
WITH days (business_date, starts_at, ends_at) AS NOT MATERIALIZED (:days),
started AS (
    SELECT d.business_date, c.event_id, count(*) AS row_count,
           max(c.updated_at) FILTER (WHERE c.checkout_id::text <> ALL (:quarantined)) AS recorded,
           count(*) FILTER (
               WHERE NOT c.is_test AND c.checkout_id::text <> ALL (:quarantined)
           ) AS checkouts
    FROM days d JOIN checkouts c ON c.started_at >= d.starts_at AND c.started_at < d.ends_at
    WHERE c.started_at >= :range_start AND c.started_at < :range_end
    GROUP BY 1, 2
)
SELECT s.business_date, e.organizer_id, e.currency, 'checkouts' AS measure,
       sum(s.checkouts)::bigint AS value
FROM started s JOIN events e ON e.event_id = s.event_id
GROUP BY 1, 2, 3
UNION ALL
SELECT business_date, NULL, NULL, 'rows', sum(row_count)::bigint FROM started GROUP BY 1
UNION ALL
SELECT business_date, NULL, NULL, 'recorded_until',
       (extract(epoch FROM max(recorded)) * 1000000)::bigint
FROM started GROUP BY 1
