-- The ticket types as the platform stores them; the quantity on offer is at least what was sold.
SELECT t.ticket_type_id, t.event_id, t.name, t.kind, t.price_minor, t.currency,
       CASE WHEN t.kind = 'donation' THEN NULL
            ELSE greatest(coalesce(s.sold, 0), e.capacity * [20, 70, 10, 15, 30][t.slot] // 100) END AS quantity,
       least(t.created_at, getvariable('until')) AS updated_at
FROM ticket_type AS t
JOIN events AS e USING (event_id)
LEFT JOIN sold AS s USING (ticket_type_id)
ORDER BY t.ticket_type_id
