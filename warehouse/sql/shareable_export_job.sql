-- Another job with the same content on the same data, whose file stays long enough.
SELECT * FROM ops.export_jobs
WHERE content_hash = %(content_hash)s AND data_version = %(data_version)s
  AND state = 'succeeded' AND job_id <> %(job_id)s AND expires_at >= clock_timestamp() + %(keep)s
ORDER BY expires_at DESC, job_id LIMIT 1
