-- Payments whose newest version counts; shares nothing with the rows' statement.
{%- from "newest.sql" import scope %}
{%- from "latest.sql" import latest, of_latest %}
WITH {{ scope() }},
{{ latest("payments", "payment_id", scoped) }}
SELECT n.currency AS currency{{ ", n.event_id AS event_id" if by_event }}, count(*) AS row_count,
       sum(n.amount_minor) AS amount,
       sum(n.processing_fee_minor) AS processing_fee
FROM {{ of_latest("payments", "payment_id", scoped) }}
WHERE n.business_date = coalesce(latest_date, n.business_date)
  AND NOT (n.is_test AND NOT $include_test)
  AND (list_contains($providers, n.provider) OR $providers IS NULL)
  AND (list_contains($instruments, n.instrument) OR $instruments IS NULL)
  AND (list_contains($currencies, n.currency) OR $currencies IS NULL)
  AND n.confirmed_at >= coalesce($confirmed_from, n.confirmed_at)
  AND ($confirmed_until IS NULL OR n.confirmed_at < $confirmed_until)
GROUP BY n.currency{{ ", n.event_id" if by_event }}
