-- An export job of the caller, as the role and for the organizer they have now; and whether they
-- still see every event it names or, where it names none, has rows of.
SELECT job_id, requester, role, organizer_id, dataset, filters, columns, format, options, reason,
       schedule_id, state, attempt, cancel_requested_at, rows_total, rows_written, bytes, file_key,
       manifest, error, created_at, started_at, finished_at, expires_at,
       NOT EXISTS (
           SELECT FROM jsonb_array_elements_text(
               coalesce(filters -> 'events', '[]') || coalesce(manifest -> 'events', '[]')
           ) AS named (id)
           WHERE NOT EXISTS (
               SELECT FROM reporting.event_summary AS e WHERE e.event_id = named.id::bigint
           )
       ) AS sees_events,
       clock_timestamp() AS now
FROM ops.export_jobs
WHERE job_id = %(job_id)s AND requester = %(account)s AND role = %(role)s
  AND organizer_id IS NOT DISTINCT FROM %(organizer_id)s
