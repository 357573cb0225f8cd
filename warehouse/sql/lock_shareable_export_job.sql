-- A job whose file is to be shared, locked so that it does not expire meanwhile.
SELECT * FROM ops.export_jobs
WHERE job_id = %(job_id)s AND state = 'succeeded' AND content_hash = %(content_hash)s FOR SHARE
