-- Payments grouped by their key; shares nothing with the rows' statement.
{%- from "newest.sql" import scope %}
WITH {{ scope() }},
latest AS (
    SELECT payment_id,
           max_by(r, (coalesce(epoch_us(d.source_snapshot_at), 0), epoch_us(r.recorded_at),
                      r.business_date)) AS n
    FROM lake.raw_payments AS r
    LEFT JOIN lake.source_totals AS d
        ON d.business_date = r.business_date AND d.fact = 'payments' AND d.measure = 'rows'
    {%- if scoped %}
    SEMI JOIN (FROM lake.raw_payments SEMI JOIN scope USING (event_id)) AS own
        ON own.payment_id = r.payment_id
    {%- endif %}
    GROUP BY payment_id
)
SELECT n.currency AS currency{{ ", n.event_id AS event_id" if by_event }}, count(*) AS row_count,
       sum(n.amount_minor) AS amount,
       sum(n.processing_fee_minor) AS processing_fee
FROM latest
WHERE NOT (n.is_test AND NOT $include_test)
  {%- if scoped %}
  AND n.event_id IN (SELECT event_id FROM scope)
  {%- endif %}
  AND (list_contains($providers, n.provider) OR $providers IS NULL)
  AND (list_contains($instruments, n.instrument) OR $instruments IS NULL)
  AND (list_contains($currencies, n.currency) OR $currencies IS NULL)
  AND n.confirmed_at >= coalesce($confirmed_from, n.confirmed_at)
  AND ($confirmed_until IS NULL OR n.confirmed_at < $confirmed_until)
GROUP BY n.currency{{ ", n.event_id" if by_event }}
