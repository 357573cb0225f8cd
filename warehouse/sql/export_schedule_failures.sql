-- Recurring exports whose jobs failed more, or fewer, times in a row than is noted. Cancelled jobs
-- count neither as failures nor as successes, and jobs made before it was resumed not at all.
SELECT s.schedule_id, failed.jobs AS failures, failed.error
FROM ops.export_schedules AS s
CROSS JOIN LATERAL (
    SELECT max(j.finished_at) AS at FROM ops.export_jobs AS j
    WHERE j.schedule_id = s.schedule_id AND j.state IN ('succeeded', 'expired')
) AS succeeded
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs,
           (array_agg(j.error ORDER BY j.finished_at DESC, j.job_id DESC))[1] AS error
    FROM ops.export_jobs AS j
    WHERE j.schedule_id = s.schedule_id AND j.state = 'failed'
      AND j.created_at >= s.counted_from
      AND j.finished_at > coalesce(succeeded.at, '-infinity')
) AS failed
WHERE s.paused_at IS NULL AND s.ended_at IS NULL
  AND failed.jobs <> s.consecutive_failures
  AND (%(schedule_id)s::uuid IS NULL OR s.schedule_id = %(schedule_id)s)
ORDER BY s.created_at, s.schedule_id
