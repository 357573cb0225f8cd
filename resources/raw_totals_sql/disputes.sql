-- What the staged disputes say of their days.
SELECT business_date, organizer_id, s.currency,
       count(*) AS rows,
       epoch_us(max(recorded_at)) AS recorded_until,
       sum(
           amount_minor * (CAST(is_withdrawn_day AS INTEGER) - CAST(is_reinstated_day AS INTEGER))
       ) FILTER (WHERE NOT is_test) AS chargebacks,
       sum(fee_minor) FILTER (WHERE is_withdrawn_day AND NOT is_test) AS processing_fees
FROM staged AS s
LEFT JOIN known_events AS e USING (event_id)
GROUP BY ALL
