-- Queued jobs in the order in which they get a run. Requesters take turns: whoever has more jobs
-- under way or ahead waits longer; within a turn, and of one requester, the oldest comes first.
WITH under_way AS (
    SELECT requester, count(*) AS jobs FROM ops.export_jobs
    WHERE finished_at IS NULL AND (state = 'running' OR requested_at IS NOT NULL)
    GROUP BY requester
), waiting AS (
    SELECT j.job_id, j.requester, j.attempt, j.created_at,
           coalesce(u.jobs, 0)
               + row_number() OVER (PARTITION BY j.requester ORDER BY j.created_at, j.job_id)
               AS turn
    FROM ops.export_jobs AS j LEFT JOIN under_way AS u USING (requester)
    WHERE j.finished_at IS NULL AND j.state = 'queued' AND j.requested_at IS NULL
      AND (j.run_after IS NULL OR j.run_after <= clock_timestamp())
)
SELECT job_id, requester, attempt + 1 AS attempt FROM waiting
ORDER BY turn, created_at, job_id LIMIT %(limit)s
