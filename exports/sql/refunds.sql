{%- from "newest.sql" import newest -%}
WITH refunds AS (
    {{ newest("refunds", "refund_id", scoped, between) }}
)
SELECT r.refund_id, r.order_id, r.event_id, e.name AS event_name, e.organizer_id,
       o.name AS organizer_name, r.provider, r.instrument, r.amount_minor AS amount,
       r.platform_fee_returned_minor AS platform_fee_returned,
       r.processing_fee_returned_minor AS processing_fee_returned,
       r.currency, r.succeeded_at, r.sold_at, r.is_test, r.recorded_at
FROM refunds AS r
LEFT JOIN lake.raw_events AS e ON e.event_id = r.event_id
LEFT JOIN lake.raw_organizers AS o ON o.organizer_id = e.organizer_id
WHERE ($include_test OR NOT r.is_test)
  AND ($providers IS NULL OR list_contains($providers, r.provider))
  AND ($instruments IS NULL OR list_contains($instruments, r.instrument))
  AND ($currencies IS NULL OR list_contains($currencies, r.currency))
  AND ($succeeded_from IS NULL OR r.succeeded_at >= $succeeded_from)
  AND ($succeeded_until IS NULL OR r.succeeded_at < $succeeded_until)
