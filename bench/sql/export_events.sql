SELECT DISTINCT event_id, CAST(1 AS BIGINT) AS organizer_id, event_name AS name, 'music' AS category,
       'Uhuru Gardens' AS venue, 'Africa/Nairobi' AS time_zone, currency, CAST(NULL AS BIGINT) AS capacity,
       TIMESTAMPTZ '2026-01-01 00:00:00+03' AS on_sale_at, TIMESTAMPTZ '2026-05-16 15:00:00+03' AS starts_at,
       TIMESTAMPTZ '2026-05-17 03:00:00+03' AS ends_at, 'completed' AS status,
       CAST(NULL AS TIMESTAMPTZ) AS cancelled_at
FROM source.bench.attendees
