-- A requester's jobs, newest first, from one page on.
SELECT * FROM ops.export_jobs
WHERE requester = %(requester)s
  AND (%(at)s::timestamptz IS NULL OR (created_at, job_id) < (%(at)s, %(id)s::uuid))
ORDER BY created_at DESC, job_id DESC LIMIT %(limit)s
