SELECT payment_id, order_id, event_id, provider, instrument, currency, amount_minor,
       processing_fee_minor, is_test, confirmed_at, updated_at AS recorded_at
FROM payments
WHERE confirmed_at >= :range_start AND confirmed_at < :range_end
