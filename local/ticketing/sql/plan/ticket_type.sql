-- What can be bought, one row per event and slot. Slots: 1 early bird, 2 regular, 3 VIP, 4 student,
-- 5 add-on, 6 donation (priced by the buyer). list_minor is the undiscounted price of the same seat.
WITH slots AS (
    SELECT * FROM (VALUES (1, 'Early Bird', 'admission'), (2, 'Regular', 'admission'), (3, 'VIP', 'admission'),
                          (4, 'Student', 'admission'), (5, 'Parking', 'add_on'), (6, 'Donation', 'donation')
    ) AS s (slot, name, kind)
), priced AS (
    SELECT e.event_id, s.slot, e.currency, s.kind, e.created_at,
           CASE WHEN e.is_free AND s.slot = 2 THEN 'Free Admission'
                WHEN s.slot = 5 AND e.category IN ('concert', 'festival', 'club_night') THEN 'T-shirt'
                ELSE s.name END AS name,
           CASE WHEN s.slot = 6 OR (e.is_free AND s.slot = 2) THEN 0 ELSE poster_price(e.price_kes
               * CASE s.slot WHEN 3 THEN 2.5 WHEN 4 THEN 0.6 WHEN 5 THEN 0.3 ELSE 1.0 END, e.currency) END AS list_minor
    FROM event AS e CROSS JOIN slots AS s
    WHERE CASE s.slot WHEN 2 THEN true WHEN 4 THEN NOT e.is_free AND e.category IN ('conference', 'theatre')
                      WHEN 5 THEN e.has_add_on WHEN 6 THEN e.has_donation ELSE NOT e.is_free END
)
SELECT row_number() OVER (ORDER BY event_id, slot) AS ticket_type_id, event_id, slot, name, kind, currency, list_minor,
       CASE WHEN slot = 1 THEN list_minor * 75 // 100 ELSE list_minor END AS price_minor, created_at
FROM priced
ORDER BY ticket_type_id
