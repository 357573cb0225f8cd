-- The right to recurring exports given back.
UPDATE ops.export_rights SET revoked_at = NULL, revoked_reason = NULL
WHERE account = %(account)s
RETURNING *
