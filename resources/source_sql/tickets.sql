SELECT ticket_id, order_id, event_id, ticket_type_id, currency, list_price_minor, charged_minor,
       is_comp, issued_at, cancelled_at, unsold_minor, retained_fee_minor, is_test,
       updated_at AS recorded_at
FROM tickets
WHERE (issued_at >= :range_start AND issued_at < :range_end)
   OR (cancelled_at >= :range_start AND cancelled_at < :range_end)
