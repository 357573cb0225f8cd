-- One ticket type per event and slot (see plan/ticket_type.sql); a slot the event does not have is taken
-- by its regular admission.
WITH typed AS (
    SELECT ticket_type_id, event_id, kind, price_minor,
           CASE WHEN kind = 'add_on' THEN 5 WHEN kind = 'donation' THEN 6 WHEN name = 'Early Bird' THEN 1
                WHEN name = 'VIP' THEN 3 WHEN name = 'Student' THEN 4 ELSE 2 END AS own_slot
    FROM platform.ticket_types
), offered AS (
    SELECT t.*, s.slot
    FROM typed AS t JOIN (VALUES (1), (2), (3), (4), (5), (6)) AS s (slot)
      ON t.own_slot = s.slot OR (t.kind = 'admission' AND s.slot <= 4)
), best AS (
    SELECT event_id, slot, arg_min(o, (CASE WHEN own_slot = slot THEN 0 WHEN own_slot = 2 THEN 1 ELSE 2 END) * 1000000000000 + ticket_type_id) AS t
    FROM offered AS o GROUP BY event_id, slot
)
SELECT b.t.ticket_type_id AS ticket_type_id, b.event_id, b.slot, b.t.kind AS kind, b.t.price_minor AS price_minor,
       CASE WHEN b.t.own_slot = 1 THEN greatest(r.t.price_minor, b.t.price_minor) ELSE b.t.price_minor END AS list_minor
FROM best AS b LEFT JOIN best AS r ON r.event_id = b.event_id AND r.slot = 2
ORDER BY 1, 3
