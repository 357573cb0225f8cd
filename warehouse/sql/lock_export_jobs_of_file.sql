-- Expired jobs that used a file.
SELECT * FROM ops.export_jobs
WHERE state = 'expired' AND file_key = %(file_key)s ORDER BY job_id FOR UPDATE
