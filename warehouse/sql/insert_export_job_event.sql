-- One transition of a job.
INSERT INTO ops.export_job_events (
    job_id, transition, from_state, to_state, attempt, run_id, detail
) VALUES (
    %(job_id)s, %(transition)s, %(from_state)s, %(to_state)s, %(attempt)s, %(run_id)s, %(detail)s
)
