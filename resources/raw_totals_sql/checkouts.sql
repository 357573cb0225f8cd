-- What the staged checkouts say of their days.
SELECT business_date, organizer_id, currency,
       count(*) AS rows,
       epoch_us(max(recorded_at)) AS recorded_until,
       count(*) FILTER (WHERE NOT is_test) AS checkouts
FROM staged AS s
LEFT JOIN known_events AS e USING (event_id)
GROUP BY ALL
