-- Export jobs of the caller, as the role and for the organizer they have now, the newest first.
SELECT job_id, requester, role, organizer_id, dataset, filters, columns, format, options, reason,
       schedule_id, state, attempt, cancel_requested_at, rows_total, rows_written, bytes, error,
       created_at, started_at, finished_at, expires_at
FROM ops.export_jobs
WHERE requester = %(account)s AND role = %(role)s
  AND organizer_id IS NOT DISTINCT FROM %(organizer_id)s
  AND (%(at)s::timestamptz IS NULL OR (created_at, job_id) < (%(at)s, %(id)s::uuid))
  AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY created_at DESC, job_id DESC
LIMIT %(limit)s
