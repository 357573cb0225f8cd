-- Refunds grouped by their key; shares nothing with the rows' statement.
{%- from "newest.sql" import scope %}
WITH {{ scope() }},
latest AS (
    SELECT refund_id,
           max_by(r, (coalesce(epoch_us(d.source_snapshot_at), 0), epoch_us(r.recorded_at),
                      r.business_date)) AS n
    FROM lake.raw_refunds AS r
    LEFT JOIN lake.source_totals AS d
        ON d.business_date = r.business_date AND d.fact = 'refunds' AND d.measure = 'rows'
    {%- if scoped %}
    SEMI JOIN (FROM lake.raw_refunds SEMI JOIN scope USING (event_id)) AS own
        ON own.refund_id = r.refund_id
    {%- endif %}
    GROUP BY refund_id
)
SELECT n.currency AS currency{{ ", n.event_id AS event_id" if by_event }}, count(*) AS row_count,
       sum(n.amount_minor) AS amount,
       sum(n.platform_fee_returned_minor) AS platform_fee_returned,
       sum(n.processing_fee_returned_minor) AS processing_fee_returned
FROM latest
WHERE NOT (n.is_test AND NOT $include_test)
  {%- if scoped %}
  AND n.event_id IN (SELECT event_id FROM scope)
  {%- endif %}
  AND (list_contains($providers, n.provider) OR $providers IS NULL)
  AND (list_contains($instruments, n.instrument) OR $instruments IS NULL)
  AND (list_contains($currencies, n.currency) OR $currencies IS NULL)
  AND n.succeeded_at >= coalesce($succeeded_from, n.succeeded_at)
  AND ($succeeded_until IS NULL OR n.succeeded_at < $succeeded_until)
GROUP BY n.currency{{ ", n.event_id" if by_event }}
