-- What the staged payments say of their days.
SELECT business_date, organizer_id, s.currency,
       count(*) AS rows,
       epoch_us(max(recorded_at)) AS recorded_until,
       sum(amount_minor) FILTER (WHERE NOT is_test) AS payments,
       count(*) FILTER (WHERE NOT is_test) AS payments_count,
       sum(processing_fee_minor) FILTER (WHERE NOT is_test) AS processing_fees
FROM staged AS s
LEFT JOIN known_events AS e USING (event_id)
GROUP BY ALL
