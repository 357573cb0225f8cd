-- What tells the kinds of event apart: size, price level in KES, how long they sell, when they sell
-- (launch spike, steady, last-minute surge with its length in days), weekdays (0 Monday), length.
SELECT * FROM (VALUES
    ('concert',    1.6, 2500.0, 45, 120, 0.35, 0.25, 0.40, 4.0, 4, 6, 19,  5),
    ('club_night', 0.5, 1000.0, 14,  30, 0.05, 0.10, 0.85, 2.0, 4, 5, 21,  7),
    ('conference', 0.6, 6000.0, 60, 150, 0.15, 0.60, 0.25, 8.0, 1, 3,  8, 34),
    ('festival',   3.0, 3500.0, 90, 180, 0.40, 0.35, 0.25, 6.0, 4, 5, 12, 38),
    ('theatre',    0.7, 1500.0, 30,  60, 0.15, 0.35, 0.50, 5.0, 3, 6, 18,  3),
    ('sports',     2.0,  800.0, 20,  45, 0.20, 0.20, 0.60, 2.5, 5, 6, 14,  4)
) AS kind (category, size_factor, price_kes, lead_low, lead_high, launch_share, base_share, last_share,
           last_days, weekday_low, weekday_high, start_hour, duration_hours)
