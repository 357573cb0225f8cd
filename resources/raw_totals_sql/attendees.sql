-- How many contacts are staged for each day; no number is made of them.
SELECT business_date, NULL AS organizer_id, NULL AS currency,
       count(*) AS rows,
       epoch_us(max(recorded_at)) AS recorded_until
FROM staged
GROUP BY ALL
