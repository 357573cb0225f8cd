-- Orders whose newest version counts; shares nothing with the rows' statement.
{%- from "newest.sql" import scope %}
{%- from "latest.sql" import latest, of_latest %}
WITH {{ scope() }},
{{ latest("orders", "order_id", scoped) }}
SELECT n.currency AS currency{{ ", n.event_id AS event_id" if by_event }}, count(*) AS row_count,
       sum(n.discount_minor) AS discount,
       sum(n.buyer_fees_minor) AS buyer_fees, sum(n.tax_minor) AS tax, sum(n.total_minor) AS total,
       sum(n.platform_fee_minor) AS platform_fee
FROM {{ of_latest("orders", "order_id", scoped) }}
WHERE n.business_date = coalesce(latest_date, n.business_date)
  AND NOT (n.is_test AND NOT $include_test)
  AND ($currencies IS NULL OR list_contains($currencies, n.currency))
  AND n.placed_at >= coalesce($placed_from, n.placed_at)
  AND ($placed_until IS NULL OR n.placed_at < $placed_until)
  AND ($outcome IS NULL
       OR list_contains($outcome, 'cancelled') AND n.cancelled_at IS NOT NULL
       OR n.cancelled_at IS NULL
          AND (list_contains($outcome, 'completed') AND n.completed_at IS NOT NULL
               OR n.completed_at IS NULL
                  AND (list_contains($outcome, 'expired') AND n.expired_at IS NOT NULL
                       OR list_contains($outcome, 'pending') AND n.expired_at IS NULL)))
GROUP BY n.currency{{ ", n.event_id" if by_event }}
