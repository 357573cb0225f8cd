-- A new job, unless the requester has used the key before.
INSERT INTO ops.export_jobs (
    requester, role, organizer_id, dataset, filters, columns, format, options, reason,
    idempotency_key, request_hash, content_hash, schedule_id, state
) VALUES (
    %(requester)s, %(role)s, %(organizer_id)s, %(dataset)s, %(filters)s, %(columns)s, %(format)s,
    %(options)s, %(reason)s, %(idempotency_key)s, %(request_hash)s, %(content_hash)s,
    %(schedule_id)s, %(state)s
)
ON CONFLICT (requester, idempotency_key) DO NOTHING
RETURNING *
