-- A recurring export of the caller, as the role and for the organizer they have now.
SELECT schedule_id, role, organizer_id, dataset, filters, columns, format, options, reason,
       recurrence_kind, recurrence, time_zone, next_due_at, last_due_at, last_missed, paused_at,
       pause_reason, consecutive_failures, created_at
FROM ops.export_schedules
WHERE schedule_id = %(schedule_id)s AND owner = %(account)s AND role = %(role)s
  AND organizer_id IS NOT DISTINCT FROM %(organizer_id)s AND ended_at IS NULL
