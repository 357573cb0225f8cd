-- An account's recurring exports that were not ended, newest first, from one page on.
SELECT * FROM ops.export_schedules
WHERE owner = %(owner)s AND ended_at IS NULL
  AND (%(at)s::timestamptz IS NULL OR (created_at, schedule_id) < (%(at)s, %(id)s::uuid))
ORDER BY created_at DESC, schedule_id DESC LIMIT %(limit)s
