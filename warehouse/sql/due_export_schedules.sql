-- Recurring exports that are due, the longest due first.
SELECT * FROM ops.export_schedules
WHERE paused_at IS NULL AND next_due_at <= clock_timestamp()
ORDER BY next_due_at, schedule_id LIMIT %(limit)s
