-- The lines of every cart, one per seat, add-on or donation. Early birds and groups of five or more pay
-- less than the list price: that reduction belongs to the ticket. line_key is the row id of its draws.
WITH seats AS (
    SELECT c.order_id, r.seq, c.order_id * 16 + r.seq AS line_key, c.event_id, c.currency, c.is_comp, c.admissions,
           CASE WHEN r.seq >= c.admissions + c.add_ons THEN 6 WHEN r.seq >= c.admissions THEN 5
                WHEN c.admissions > 1 AND NOT e.is_free AND u('seat upgrade', c.order_id * 16 + r.seq) < 0.06 THEN 3
                ELSE c.slot END AS slot
    FROM carts AS c
    JOIN event AS e USING (event_id)
    CROSS JOIN unnest(range(c.admissions + c.add_ons + c.donations)) AS r (seq)
), listed AS (
    SELECT s.*, t.ticket_type_id, t.kind, t.price_minor,
           CASE WHEN t.kind = 'donation' THEN poster_price(pick([100.0, 200.0, 500.0, 1000.0], u('gift', line_key)), s.currency)
                ELSE t.list_minor END AS list_minor
    FROM seats AS s JOIN ticket_type AS t USING (event_id, slot)
)
SELECT order_id, seq, line_key, ticket_type_id, kind, list_minor, is_comp,
       CASE WHEN is_comp THEN 0
            WHEN kind = 'donation' THEN list_minor
            WHEN kind = 'admission' AND admissions >= 5 THEN price_minor * 90 // 100
            ELSE price_minor END AS charged_minor
FROM listed
ORDER BY order_id, seq
