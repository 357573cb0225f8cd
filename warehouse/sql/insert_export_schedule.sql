-- A new recurring export.
INSERT INTO ops.export_schedules (
    owner, role, organizer_id, dataset, filters, columns, format, options, reason,
    recurrence_kind, recurrence, time_zone, next_due_at
) VALUES (
    %(owner)s, %(role)s, %(organizer_id)s, %(dataset)s, %(filters)s, %(columns)s, %(format)s,
    %(options)s, %(reason)s, %(recurrence_kind)s, %(recurrence)s, %(time_zone)s, %(next_due_at)s
)
RETURNING *
