-- Recurring exports of the caller, as the role and for the organizer they have now, newest first.
SELECT schedule_id, role, organizer_id, dataset, filters, columns, format, options, reason,
       recurrence_kind, recurrence, time_zone, next_due_at, last_due_at, last_missed, paused_at,
       pause_reason, consecutive_failures, created_at
FROM ops.export_schedules
WHERE owner = %(account)s AND role = %(role)s
  AND organizer_id IS NOT DISTINCT FROM %(organizer_id)s AND ended_at IS NULL
  AND (%(at)s::timestamptz IS NULL OR (created_at, schedule_id) < (%(at)s, %(id)s::uuid))
ORDER BY created_at DESC, schedule_id DESC
LIMIT %(limit)s
