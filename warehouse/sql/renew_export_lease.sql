-- Progress and a longer lease, for the run that has the job and was not told to stop.
UPDATE ops.export_jobs SET
    lease_until = clock_timestamp() + %(lease)s,
    rows_total = coalesce(%(rows_total)s, rows_total),
    rows_written = coalesce(%(rows_written)s, rows_written)
WHERE job_id = %(job_id)s AND state = 'running' AND attempt = %(attempt)s
  AND leased_by = %(run_id)s AND cancel_requested_at IS NULL
RETURNING *
