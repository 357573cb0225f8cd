-- An account as a verified call showed it. A revoked right stays revoked, and one that was seen
-- lately is not written again: a call reads, as a rule.
INSERT INTO ops.export_rights AS known (account, role, organizer_id, granted_at, seen_at)
SELECT %(account)s, %(role)s, %(organizer_id)s, now, now
FROM (SELECT clock_timestamp() AS now) AS clock
ON CONFLICT (account) DO UPDATE SET
    role = excluded.role,
    organizer_id = excluded.organizer_id,
    granted_at = CASE
        WHEN (known.role, known.organizer_id)
            IS DISTINCT FROM (excluded.role, excluded.organizer_id)
        THEN excluded.granted_at ELSE known.granted_at END,
    seen_at = greatest(known.seen_at, excluded.seen_at)
WHERE (known.role, known.organizer_id) IS DISTINCT FROM (excluded.role, excluded.organizer_id)
   OR known.seen_at < excluded.seen_at - %(every)s
