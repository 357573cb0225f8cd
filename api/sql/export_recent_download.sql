-- The newest job of the caller that a download of an event's attendees may wait for or be given:
-- unfinished, or finished so lately that it is as new as one made now.
SELECT job_id
FROM ops.export_jobs
WHERE requester = %(account)s AND role = %(role)s
  AND organizer_id IS NOT DISTINCT FROM %(organizer_id)s
  AND idempotency_key LIKE %(prefix)s
  AND cancel_requested_at IS NULL
  AND (
      state IN ('queued', 'running')
      OR (state = 'succeeded' AND created_at > clock_timestamp() - interval '60 seconds')
  )
ORDER BY created_at DESC, job_id DESC
LIMIT 1
