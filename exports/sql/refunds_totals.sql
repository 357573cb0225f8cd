-- Refunds whose newest version counts; shares nothing with the rows' statement.
{%- from "newest.sql" import scope %}
{%- from "latest.sql" import latest, of_latest %}
WITH {{ scope() }},
{{ latest("refunds", "refund_id", scoped) }}
SELECT n.currency AS currency{{ ", n.event_id AS event_id" if by_event }}, count(*) AS row_count,
       sum(n.amount_minor) AS amount,
       sum(n.platform_fee_returned_minor) AS platform_fee_returned,
       sum(n.processing_fee_returned_minor) AS processing_fee_returned
FROM {{ of_latest("refunds", "refund_id", scoped) }}
WHERE n.business_date = coalesce(latest_date, n.business_date)
  AND NOT (n.is_test AND NOT $include_test)
  AND (list_contains($providers, n.provider) OR $providers IS NULL)
  AND (list_contains($instruments, n.instrument) OR $instruments IS NULL)
  AND (list_contains($currencies, n.currency) OR $currencies IS NULL)
  AND n.succeeded_at >= coalesce($succeeded_from, n.succeeded_at)
  AND ($succeeded_until IS NULL OR n.succeeded_at < $succeeded_until)
GROUP BY n.currency{{ ", n.event_id" if by_event }}
