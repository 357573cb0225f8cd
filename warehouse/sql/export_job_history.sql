-- Everything that happened to a job, in order.
SELECT transition, from_state, to_state, attempt, run_id, detail, happened_at
FROM ops.export_job_events WHERE job_id = %(job_id)s ORDER BY event_id
