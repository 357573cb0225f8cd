-- What the staged orders say of their days.
SELECT business_date, organizer_id, s.currency,
       count(*) AS rows,
       epoch_us(max(recorded_at)) AS recorded_until,
       count(*) FILTER (WHERE is_placed_day AND NOT is_test) AS requests,
       count(*) FILTER (WHERE is_completed_day AND NOT is_test) AS orders,
       count(*) FILTER (WHERE is_completed_day AND NOT is_test AND total_minor = 0) AS free_orders,
       count(*) FILTER (WHERE is_completed_day AND is_test) AS test_orders,
       count(*) FILTER (WHERE is_cancelled_day AND NOT is_test) AS orders_cancelled,
       count(*) FILTER (WHERE is_expired_day AND NOT is_test) AS orders_expired,
       sum(discount_minor) FILTER (WHERE is_completed_day AND NOT is_test) AS discounts,
       sum(buyer_fees_minor) FILTER (WHERE is_completed_day AND NOT is_test) AS buyer_fees,
       sum(tax_minor) FILTER (WHERE is_completed_day AND NOT is_test) AS tax,
       sum(platform_fee_minor) FILTER (WHERE is_completed_day AND NOT is_test) AS platform_fees
FROM staged AS s
LEFT JOIN known_events AS e USING (event_id)
GROUP BY ALL
