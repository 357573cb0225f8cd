-- Says of every day when it was read: later days later, so a cancellation is newer than the sale.
SELECT CAST(day AS DATE) AS business_date, fact, CAST(NULL AS BIGINT) AS organizer_id,
       CAST(NULL AS VARCHAR) AS currency, 'rows' AS measure, CAST(0 AS BIGINT) AS value,
       day + INTERVAL 1 DAY AS source_snapshot_at
FROM range(TIMESTAMPTZ '2026-01-01 00:00:00+00', TIMESTAMPTZ '2026-07-01 00:00:00+00', INTERVAL 1 DAY) AS days (day),
     (VALUES ('tickets'), ('attendees'), ('check_ins')) AS facts (fact)
