SELECT order_id, event_id, channel, currency, discount_minor, buyer_fees_minor, tax_minor,
       total_minor, platform_fee_minor, is_test, placed_at, completed_at, cancelled_at, expired_at,
       updated_at AS recorded_at,
       coalesce(nullif(lower(trim(buyer_email)), ''), nullif(trim(buyer_phone), ''),
                'account:' || customer_id) AS buyer_identity
FROM orders
WHERE (placed_at >= :range_start AND placed_at < :range_end)
   OR (completed_at >= :range_start AND completed_at < :range_end)
   OR (cancelled_at >= :range_start AND cancelled_at < :range_end)
   OR (expired_at >= :range_start AND expired_at < :range_end)
