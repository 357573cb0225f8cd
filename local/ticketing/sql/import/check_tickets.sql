-- Rules of tickets.csv against its orders and ticket types.
INSERT INTO import_refused (file, line, column_name, value, reason, detail, key, order_id)
SELECT 'tickets.csv', t.line, p.column_name, coalesce(p.value, ''), p.reason, p.detail, t.ticket_id, t.order_id
FROM import_tickets AS t
JOIN import_orders AS o USING (order_id)
LEFT JOIN import_ticket_types AS y USING (ticket_type_id)
LEFT JOIN (SELECT key, min(line) AS line FROM import_refused WHERE file = 'ticket_types.csv' GROUP BY key) AS r
    ON r.key = t.ticket_type_id AND y.ticket_type_id IS NULL
CROSS JOIN LATERAL (VALUES
    (o.sold_at IS NULL,
     'order_id', t.order_id::text, 'is an order that was never completed; only completed orders have tickets',
     'it is ' || o.status),
    (t.ticket_type_id IS NOT NULL AND y.ticket_type_id IS NULL AND r.line IS NULL,
     'ticket_type_id', t.ticket_type_id::text, 'is not in ticket_types.csv; add it there or empty it', NULL),
    (r.line IS NOT NULL,
     'ticket_type_id', t.ticket_type_id::text, 'belongs to a refused row of ticket_types.csv; correct that one',
     'line ' || r.line),
    (y.event_id <> o.event_id,
     'ticket_type_id', t.ticket_type_id::text, 'is a ticket type of another event', 'of event ' || y.event_id),
    (t.status = 'cancelled' AND t.cancelled_at IS NULL,
     'cancelled_at', NULL, 'is empty though the ticket is cancelled; add it', NULL),
    (t.status = 'issued' AND t.cancelled_at IS NOT NULL,
     'status', t.status, 'contradicts cancelled_at; write cancelled or empty cancelled_at', NULL),
    (t.cancelled_at < o.sold_at,
     'cancelled_at', t.cancelled_at::text, 'is before its order was completed; correct one of them', NULL),
    (t.cancelled_at IS NULL AND (t.unsold_minor > 0 OR t.retained_fee_minor > 0),
     'unsold_minor', t.unsold_minor::text, 'is given though the ticket is not cancelled; empty it and retained_fee', NULL)
) AS p (is_wrong, column_name, value, reason, detail)
WHERE p.is_wrong
