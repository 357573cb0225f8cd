-- Count what was found to a late day. A day that was resolved starts anew.
INSERT INTO ops.late_days AS l (business_date, fact, found_at, found_by, found)
VALUES (%(business_date)s, %(fact)s, %(found_at)s, %(found_by)s, %(found)s)
ON CONFLICT (business_date, fact) DO UPDATE SET
    found_at = greatest(l.found_at, excluded.found_at),
    found_by = excluded.found_by,
    found = CASE
        WHEN l.resolved_at IS NOT NULL THEN excluded.found
        WHEN l.found ? 'rows' AND excluded.found ? 'rows'
            THEN l.found || excluded.found
                 || jsonb_build_object('rows', (l.found ->> 'rows')::bigint + (excluded.found ->> 'rows')::bigint)
        ELSE l.found || excluded.found END,
    requests = CASE WHEN l.resolved_at IS NULL THEN l.requests ELSE 0 END,
    requested_at = CASE WHEN l.resolved_at IS NULL THEN l.requested_at END,
    resolved_at = NULL
