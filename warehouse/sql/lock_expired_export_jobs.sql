-- Succeeded jobs whose file has been kept long enough.
SELECT * FROM ops.export_jobs
WHERE state = 'succeeded' AND expires_at <= clock_timestamp()
ORDER BY expires_at, job_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
