-- The events as the generator's statements know them, read back from the platform. What the platform does
-- not store is drawn as the seed drew it; an event of another origin simply gets some value.
SELECT e.event_id, e.organizer_id, false AS is_mega, coalesce(e.category, 'concert') AS category, e.currency,
       CASE WHEN e.currency = 'USD' THEN 'US' WHEN o.country IN ('KE', 'UG', 'TZ') THEN o.country ELSE 'KE' END AS market,
       epoch_us(e.on_sale_at) AS on_sale_at, epoch_us(e.starts_at) AS starts_at, epoch_us(e.ends_at) AS ends_at,
       epoch_us(e.cancelled_at) AS cancelled_at, e.status, e.capacity,
       coalesce(t.top_price, 0) = 0 AS is_free, coalesce(t.has_add_on, false) AS has_add_on, coalesce(t.has_donation, false) AS has_donation,
       coalesce(t.admissions, 0) > 0 AS sells_admissions,
       u('event fees', e.event_id) < 0.6 AS has_buyer_fees,
       CASE WHEN u('event tax', e.event_id) >= 0.35 THEN 0 WHEN e.currency = 'KES' THEN 16 WHEN e.currency = 'USD' THEN 8
            ELSE 18 END AS tax_percent
FROM platform.events AS e
JOIN platform.organizers AS o USING (organizer_id)
LEFT JOIN (SELECT event_id, max(price_minor) FILTER (kind = 'admission') AS top_price, bool_or(kind = 'add_on') AS has_add_on,
                  bool_or(kind = 'donation') AS has_donation, count(*) FILTER (kind = 'admission') AS admissions
           FROM platform.ticket_types GROUP BY event_id) AS t USING (event_id)
ORDER BY e.event_id
