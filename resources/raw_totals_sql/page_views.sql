-- What the staged views say of their days.
SELECT business_date, organizer_id, currency,
       count(*) AS rows,
       epoch_us(max(recorded_at)) AS recorded_until,
       sum(page_views) AS page_views,
       sum(visitors) AS visitors
FROM staged AS s
LEFT JOIN known_events AS e USING (event_id)
GROUP BY ALL
