-- Per fact: when its newest day was read, or, where a past day changed and has not been read since,
-- when that day was last read, if that is earlier.
WITH newest AS (
    SELECT DISTINCT ON (fact) fact, business_date, source_snapshot_at
    FROM ops.extractions
    ORDER BY fact, business_date DESC
), waiting AS (
    SELECT l.fact, count(*) AS days, min(e.source_snapshot_at) AS read_at
    FROM ops.late_days AS l
    LEFT JOIN ops.extractions AS e USING (fact, business_date)
    WHERE l.resolved_at IS NULL
      AND (e.source_snapshot_at IS NULL OR e.source_snapshot_at < l.found_at)
    GROUP BY l.fact
)
SELECT n.fact, n.business_date AS newest_day,
       least(n.source_snapshot_at, w.read_at) AS read_until,
       coalesce(w.days, 0) AS late_days_waiting
FROM newest AS n
LEFT JOIN waiting AS w USING (fact)
ORDER BY n.fact
