-- An account that has, or had, recurring exports called as a viewer, who may own none.
UPDATE ops.export_rights
SET role = 'viewer', organizer_id = %(organizer_id)s, granted_at = now, seen_at = now
FROM (SELECT clock_timestamp() AS now) AS clock
WHERE account = %(account)s AND role <> 'viewer'
