-- Relative demand per event and day on sale, as integers so that sums do not depend on threads, with
-- the part of the day [from_us, to_us) in which the event was on sale. Weekdays, payday (28th to 2nd)
-- and the weather are factors.
WITH days AS (
    SELECT e.event_id, e.is_mega, d.idx, d.starts_us, d.ends_us,
           greatest(d.starts_us, e.on_sale_at) AS from_us,
           least(d.ends_us, e.sale_ends_at, getvariable('until')) AS to_us,
           e.size * ( launch_share / 3.03 * exp(-(d.idx - e.on_sale_day) / 2.5)
                    + base_share / (e.lead_days + 1)
                    + last_share / last_days * exp(-greatest(e.start_day - d.idx, 0) / last_days) )
               * [0.85, 0.85, 0.95, 1.05, 1.25, 1.15, 0.9][1 + d.weekday]
               * CASE WHEN d.day_of_month >= 28 OR d.day_of_month <= 2 THEN 1.45
                      WHEN d.day_of_month BETWEEN 20 AND 26 THEN 0.85 ELSE 1.0 END
               * (0.8 + 0.4 * u('demand weather', e.event_id * 100000 + d.idx))
           AS demand
    FROM event AS e
    JOIN day AS d ON d.idx BETWEEN greatest(e.on_sale_day, 0) AND least(e.start_day + 2, getvariable('last_day'))
    WHERE e.on_sale_at IS NOT NULL
)
SELECT event_id, is_mega, idx, from_us, to_us,
       from_us = starts_us AND to_us = ends_us AS is_whole_day,
       1 + floor(1e6 * demand * (to_us - from_us) / (ends_us - starts_us))::BIGINT AS weight
FROM days
WHERE to_us > from_us
ORDER BY event_id, idx
