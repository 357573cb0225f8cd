-- People at the gates of events in progress, and offline scanners of events ended within three days
-- sending what they scanned. One holder in eight never comes. Each tick looks at some orders of a few
-- events, by index: the tables may be large and most tickets are scanned already.
WITH gates AS MATERIALIZED (
    SELECT event_id, ends_at FROM events
    WHERE starts_at - interval '90 minutes' <= %(now)s AND ends_at > %(now)s::timestamptz - interval '3 days' AND cancelled_at IS NULL
    ORDER BY ends_at > %(now)s DESC, hashint8(event_id # %(draw)s) LIMIT 5
), queue AS MATERIALIZED (
    SELECT o.order_id, g.ends_at
    FROM gates g CROSS JOIN LATERAL (
        SELECT order_id FROM orders WHERE orders.event_id = g.event_id AND completed_at < %(now)s
        ORDER BY hashint8(order_id # %(draw)s) LIMIT 20 + 2 * %(wanted)s) o
), waiting AS MATERIALIZED (
    SELECT t.*, q.ends_at
    FROM queue q CROSS JOIN LATERAL (
        SELECT tickets.* FROM tickets JOIN ticket_types y USING (ticket_type_id)
        WHERE tickets.order_id = q.order_id AND tickets.status = 'issued' AND y.kind = 'admission' AND hashint8(ticket_id) & 7 <> 0
        OFFSET 0) t
    WHERE NOT EXISTS (SELECT FROM check_ins c WHERE c.ticket_id = t.ticket_id)
    LIMIT %(wanted)s
)
INSERT INTO check_ins (check_in_id, ticket_id, order_id, event_id, ticket_type_id, gate, is_test, scanned_at, uploaded_at, updated_at)
SELECT (SELECT coalesce(max(check_in_id), 0) FROM check_ins) + row_number() OVER (ORDER BY ticket_id), ticket_id, order_id, event_id,
       ticket_type_id, 'Gate A', is_test, greatest(issued_at, least(%(now)s::timestamptz, ends_at - interval '1 hour')), %(now)s, %(now)s
FROM waiting
