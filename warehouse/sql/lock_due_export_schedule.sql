-- A recurring export, if it is due and nobody else has it in hand.
SELECT * FROM ops.export_schedules
WHERE schedule_id = %(schedule_id)s AND paused_at IS NULL AND next_due_at <= clock_timestamp()
FOR UPDATE SKIP LOCKED
