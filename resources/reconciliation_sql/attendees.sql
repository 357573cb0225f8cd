-- Contact data of ticket holders: counted only, as no number is made of it.
WITH days (business_date, starts_at, ends_at) AS NOT MATERIALIZED (:days),
touched AS (
    SELECT d.business_date, count(*) AS row_count,
           max(t.updated_at) FILTER (WHERE t.ticket_id::text <> ALL (:quarantined)) AS recorded
    FROM days d JOIN tickets t ON t.issued_at >= d.starts_at AND t.issued_at < d.ends_at
    WHERE t.issued_at >= :range_start AND t.issued_at < :range_end
    GROUP BY 1
)
SELECT business_date, NULL::bigint AS organizer_id, NULL AS currency, 'rows' AS measure,
       row_count AS value
FROM touched
UNION ALL
SELECT business_date, NULL, NULL, 'recorded_until', (extract(epoch FROM recorded) * 1000000)::bigint
FROM touched
