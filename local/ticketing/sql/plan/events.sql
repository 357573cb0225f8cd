-- The events as the platform stores them, written last because capacity must hold what was sold.
WITH admissions AS (
    SELECT t.event_id, sum(s.sold)::BIGINT AS sold
    FROM sold AS s JOIN ticket_type AS t USING (ticket_type_id)
    WHERE t.kind = 'admission'
    GROUP BY t.event_id
), sized AS (
    SELECT e.*, coalesce(a.sold, 0) AS sold,
           e.ends_at <= getvariable('until') AS is_over,
           e.is_mega OR u('event sold out', e.event_id) < 0.15 AS sells_out
    FROM event AS e LEFT JOIN admissions AS a USING (event_id)
), filled AS (
    SELECT *, CASE WHEN is_over AND sells_out THEN greatest(sold, 10)
                   ELSE ceil((sold + 50) / (CASE WHEN is_over THEN 0.95 ELSE 0.6 END - 0.45 * u('event fill', event_id)) / 10)::BIGINT * 10
              END AS capacity
    FROM sized
)
SELECT event_id, organizer_id,
       CASE WHEN is_mega THEN 'Nairobi Mega Festival'
            WHEN u('event odd', event_id) < 0.02 THEN '=SUM(' || event_id || '), "live"'
            ELSE pick(['Sauti', 'Koroga', 'Blankets & Wine', 'Safari', 'Ngoma', 'Afrobeats', 'Tusker', 'Mashariki', 'Uhuru', 'Café Ñandú',
                       'Lamu', 'Rusinga', 'Nyege', 'Bongo', 'Ọjà', 'ليالي'], u('event word', event_id))
                 || ' ' || CASE category WHEN 'club_night' THEN 'Club Night' ELSE upper(category[1]) || category[2:] END
                 || ' #' || event_id END AS name,
       category,
       pick(['Carnivore Grounds', 'KICC', 'Kasarani', 'Uhuru Gardens', 'Lugogo', 'Mlimani City', 'National Theatre', 'The Alchemist', 'Amahoro'],
            u('event venue', event_id)) AS venue,
       time_zone, currency, capacity, on_sale_at, starts_at, ends_at,
       CASE WHEN cancelled_at IS NOT NULL THEN 'cancelled' WHEN on_sale_at IS NULL OR on_sale_at > getvariable('until') THEN 'draft'
            WHEN is_over AND sells_out THEN 'sold_out' WHEN is_over THEN 'completed' ELSE 'on_sale' END AS status,
       cancelled_at, least(created_at, getvariable('until')) AS created_at,
       least(getvariable('until'), greatest(created_at, coalesce(cancelled_at, 0),
             CASE WHEN is_over THEN ends_at ELSE coalesce(least(on_sale_at, getvariable('until')), 0) END)) AS updated_at
FROM filled
ORDER BY event_id
