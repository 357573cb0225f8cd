-- Complete days of sufficient age become final, unless they are held back or a late change of theirs
-- has not been read yet.
UPDATE ops.partitions AS p SET final_at = clock_timestamp()
WHERE p.dataset = %(dataset)s AND p.is_complete AND p.final_at IS NULL
  AND p.partition_key < %(before)s
  AND NOT EXISTS (
      SELECT FROM ops.audits AS a
      WHERE a.dataset IN (p.dataset, 'movements') AND a.partition_key = p.partition_key
        AND NOT a.passed
  )
  AND NOT EXISTS (
      SELECT FROM ops.late_days AS l
      LEFT JOIN ops.extractions AS e USING (fact, business_date)
      WHERE l.business_date = p.partition_key::date AND l.resolved_at IS NULL
        AND (e.source_snapshot_at IS NULL OR e.source_snapshot_at < l.found_at)
  )
