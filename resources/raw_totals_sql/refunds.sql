-- What the staged refunds say of their days.
SELECT business_date, organizer_id, s.currency,
       count(*) AS rows,
       epoch_us(max(recorded_at)) AS recorded_until,
       sum(amount_minor) FILTER (WHERE NOT is_test) AS refunds,
       count(*) FILTER (WHERE NOT is_test) AS refunds_count,
       -sum(platform_fee_returned_minor) FILTER (WHERE NOT is_test) AS platform_fees,
       -sum(processing_fee_returned_minor) FILTER (WHERE NOT is_test) AS processing_fees
FROM staged AS s
LEFT JOIN known_events AS e USING (event_id)
GROUP BY ALL
