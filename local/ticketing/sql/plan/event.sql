-- Every event with what drives its sales. Days are indexes from the first day (0); hours are local to
-- the reporting time zone. Sizes are relative; the mega event's orders are set apart in event_orders.
WITH organizer AS (
    SELECT organizer_id,
           CASE WHEN organizer_id <= 4 THEN ['KE', 'UG', 'TZ', 'RW'][organizer_id]
                WHEN u('organizer country', organizer_id) < 0.60 THEN 'KE'
                WHEN u('organizer country', organizer_id) < 0.77 THEN 'UG'
                WHEN u('organizer country', organizer_id) < 0.92 THEN 'TZ' ELSE 'RW' END AS country
    FROM range(1, getvariable('organizers') + 1) AS r (organizer_id)
), drawn AS (
    SELECT event_id, event_id = getvariable('mega_event') AS is_mega,
           CASE WHEN event_id = getvariable('mega_event') THEN 1
                WHEN event_id <= getvariable('organizers') THEN event_id
                ELSE 1 + floor(getvariable('organizers') * pow(u('event organizer', event_id), 1.8))::BIGINT
           END AS organizer_id,
           u('event category', event_id) AS x, u('event day', event_id) AS day_draw
    FROM range(1, getvariable('events') + 1) AS r (event_id)
), kinds AS (
    SELECT *, CASE WHEN is_mega THEN 'festival' WHEN x < 0.28 THEN 'concert' WHEN x < 0.52 THEN 'club_night'
                   WHEN x < 0.64 THEN 'conference' WHEN x < 0.72 THEN 'festival' WHEN x < 0.86 THEN 'theatre'
                   ELSE 'sports' END AS category
    FROM drawn
), shaped AS (
    SELECT k.*, s.* EXCLUDE (category), o.country,
           CASE WHEN o.country = 'RW' OR (NOT is_mega AND u('event usd', event_id) < 0.04) THEN 'USD'
                WHEN o.country = 'UG' THEN 'UGX' WHEN o.country = 'TZ' THEN 'TZS' ELSE 'KES' END AS currency,
           between_by(s.lead_low, s.lead_high, u('event lead', event_id)) AS lead_days,
           CASE WHEN is_mega THEN floor(0.6 * getvariable('last_day'))::BIGINT
                ELSE 1 + floor(day_draw * (getvariable('last_day') + 119))::BIGINT END AS raw_day
    FROM kinds AS k
    JOIN event_kind AS s USING (category)
    JOIN organizer AS o USING (organizer_id)
), dated AS (
    SELECT *, greatest(1, raw_day - (raw_day + getvariable('first_weekday')) % 7
                          + between_by(weekday_low, weekday_high, u('event weekday', event_id))) AS start_day
    FROM shaped
), timed AS (
    SELECT d.*, day.starts_us + hours(start_hour + floor(2 * u('event hour', event_id))) AS starts_at,
           d.start_day - least(d.lead_days, CASE WHEN is_mega THEN d.start_day ELSE d.lead_days END) AS on_sale_day
    FROM dated AS d JOIN day ON day.idx = d.start_day
), sold AS (
    SELECT t.*, starts_at + hours(duration_hours) AS ends_at,
           CASE WHEN start_day > getvariable('last_day') + 50 AND u('event draft', event_id) < 0.2 THEN NULL
                ELSE day.starts_us + hours(10) END AS on_sale_at
    FROM timed AS t JOIN day ON day.idx = t.on_sale_day
), cancelled AS (
    SELECT *, CASE WHEN NOT is_mega AND event_id % 29 = 5
                    AND starts_at - hours(24 * 9 * u('event cancelled', event_id) + 20) BETWEEN on_sale_at + hours(30)
                                                                                       AND getvariable('until') - 1
                   THEN starts_at - hours(24 * 9 * u('event cancelled', event_id) + 20) END AS cancelled_at
    FROM sold
)
SELECT event_id, organizer_id, is_mega, category, country, currency,
       CASE WHEN currency = 'USD' THEN 'Africa/Kigali' WHEN country = 'UG' THEN 'Africa/Kampala'
            WHEN country = 'TZ' THEN 'Africa/Dar_es_Salaam' ELSE 'Africa/Nairobi' END AS time_zone,
       CASE WHEN currency = 'USD' THEN 'US' ELSE country END AS market,
       start_day, on_sale_day, lead_days, on_sale_at, starts_at, ends_at, cancelled_at,
       least(ends_at, coalesce(cancelled_at, ends_at)) AS sale_ends_at,
       launch_share, base_share, last_share, last_days,
       size_factor * exp(0.9 * normal('event size', event_id)) * (1 + 0.4 * start_day / (getvariable('last_day') + 1)) AS size,
       NOT is_mega AND u('event free', event_id) < 0.06 AS is_free,
       price_kes * exp(0.5 * normal('event price', event_id)) AS price_kes,
       u('event add-on', event_id) < 0.5 AS has_add_on,
       u('event donation', event_id) < 0.1 AS has_donation,
       u('event fees', event_id) < 0.6 AS has_buyer_fees,
       CASE WHEN u('event tax', event_id) >= 0.35 THEN 0 WHEN currency = 'KES' THEN 16 WHEN currency = 'USD' THEN 8
            ELSE 18 END AS tax_percent,
       coalesce(on_sale_at, getvariable('until')) - hours(24 * (5 + 25 * u('event created', event_id))) AS created_at
FROM cancelled
ORDER BY event_id
