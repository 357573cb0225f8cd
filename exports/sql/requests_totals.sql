-- Orders grouped by their key; shares nothing with the rows' statement.
{%- from "newest.sql" import scope %}
WITH {{ scope() }},
latest AS (
    SELECT order_id,
           max_by(r, (coalesce(epoch_us(d.source_snapshot_at), 0), epoch_us(r.recorded_at),
                      r.business_date)) AS n
    FROM lake.raw_orders AS r
    LEFT JOIN lake.source_totals AS d
        ON d.business_date = r.business_date AND d.fact = 'orders' AND d.measure = 'rows'
    {%- if scoped %}
    SEMI JOIN (FROM lake.raw_orders SEMI JOIN scope USING (event_id)) AS own
        ON own.order_id = r.order_id
    {%- endif %}
    GROUP BY order_id
)
SELECT n.currency AS currency{{ ", n.event_id AS event_id" if by_event }}, count(*) AS row_count,
       sum(n.discount_minor) AS discount,
       sum(n.buyer_fees_minor) AS buyer_fees, sum(n.tax_minor) AS tax, sum(n.total_minor) AS total,
       sum(n.platform_fee_minor) AS platform_fee
FROM latest
WHERE NOT (n.is_test AND NOT $include_test)
  {%- if scoped %}
  AND n.event_id IN (SELECT event_id FROM scope)
  {%- endif %}
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
