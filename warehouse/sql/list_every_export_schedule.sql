-- Every account's recurring exports that were not ended, the next due first.
SELECT * FROM ops.export_schedules WHERE ended_at IS NULL
ORDER BY next_due_at NULLS LAST, schedule_id
