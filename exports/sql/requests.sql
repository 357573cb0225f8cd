{%- from "newest.sql" import newest -%}
WITH orders AS (
    {{ newest("orders", "order_id", scoped, between) }}
),
outcomes AS (
    SELECT *,
           CASE WHEN cancelled_at IS NOT NULL THEN 'cancelled'
                WHEN completed_at IS NOT NULL THEN 'completed'
                WHEN expired_at IS NOT NULL THEN 'expired'
                ELSE 'pending' END AS outcome
    FROM orders
)
SELECT r.order_id, r.event_id, e.name AS event_name, e.organizer_id, o.name AS organizer_name,
       r.outcome, r.channel, r.discount_minor AS discount, r.buyer_fees_minor AS buyer_fees,
       r.tax_minor AS tax, r.total_minor AS total, r.platform_fee_minor AS platform_fee,
       r.currency, r.placed_at, r.completed_at, r.cancelled_at, r.expired_at,
       CAST(r.buyer_key AS VARCHAR) AS buyer_key, r.is_test, r.recorded_at
FROM outcomes AS r
LEFT JOIN lake.raw_events AS e ON e.event_id = r.event_id
LEFT JOIN lake.raw_organizers AS o ON o.organizer_id = e.organizer_id
WHERE ($include_test OR NOT r.is_test)
  AND ($currencies IS NULL OR list_contains($currencies, r.currency))
  AND ($outcome IS NULL OR list_contains($outcome, r.outcome))
  AND ($placed_from IS NULL OR r.placed_at >= $placed_from)
  AND ($placed_until IS NULL OR r.placed_at < $placed_until)
