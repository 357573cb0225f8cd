-- The right to recurring exports taken away; taken away again, it stays so since the first time.
UPDATE ops.export_rights
SET revoked_at = coalesce(revoked_at, clock_timestamp()), revoked_reason = %(reason)s
WHERE account = %(account)s
RETURNING *
