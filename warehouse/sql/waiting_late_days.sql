-- Past days that changed at the source and have not been read since.
SELECT l.business_date, l.fact, l.found_at, l.found_by, l.requests, l.requested_at
FROM ops.late_days AS l
LEFT JOIN ops.extractions AS e USING (fact, business_date)
WHERE l.resolved_at IS NULL
  AND (e.source_snapshot_at IS NULL OR e.source_snapshot_at < l.found_at)
ORDER BY l.found_at, l.business_date, l.fact
