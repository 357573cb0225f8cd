SELECT event_id, organizer_id, name, category, venue, time_zone, currency, capacity,
       on_sale_at, starts_at, ends_at, status, cancelled_at
FROM events
