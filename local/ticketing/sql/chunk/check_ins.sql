-- Admissions scanned at the gate: 12% never come (35% of free events); most within the two hours around
-- the start. One scanner in 25 is offline and uploads hours to days later.
WITH held AS (
    SELECT t.ticket_id, t.order_id, t.event_id, t.ticket_type_id, t.is_test, t.issued_at, t.line_key, e.starts_at, e.ends_at
    FROM tickets AS t JOIN event AS e USING (event_id)
    WHERE t.kind = 'admission' AND t.status = 'issued' AND e.cancelled_at IS NULL AND e.starts_at - hours(2) <= getvariable('until')
      AND u('comes', t.line_key) >= CASE WHEN e.is_free THEN 0.35 ELSE 0.12 END
), scanned AS (
    SELECT *, greatest(issued_at + seconds(30), least(ends_at, starts_at + minutes(-90 + 100 * exponential('gate', line_key)
                                                         * u('gate spread', line_key)))) AS scanned_at
    FROM held
), uploaded AS (
    SELECT *, scanned_at + CASE WHEN u('offline', line_key) < 0.04 THEN hours(2 + 70 * u('offline lag', line_key))
                                ELSE seconds(1 + 4 * u('upload', line_key)) END AS uploaded_at
    FROM scanned
)
SELECT ticket_id, order_id, event_id, ticket_type_id,
       pick(['Gate A', 'Gate B', 'Gate C', 'VIP'], u('gate name', line_key)) AS gate, is_test, scanned_at, uploaded_at, uploaded_at AS updated_at
FROM uploaded
WHERE uploaded_at <= getvariable('until')
