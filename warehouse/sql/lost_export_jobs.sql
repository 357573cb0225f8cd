-- Jobs whose run stopped renewing its lease, or whose requested run never began.
SELECT * FROM ops.export_jobs
WHERE finished_at IS NULL
  AND (lease_until < clock_timestamp() OR requested_at < clock_timestamp() - %(begin_within)s)
ORDER BY created_at, job_id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
