-- The published days of an event that a rollup is the sum of.
SELECT business_date AS day, sum({{ metric }})::bigint AS {{ metric }}
FROM reporting.daily_metrics
WHERE event_id = %(event)s AND currency = %(currency)s
  AND business_date BETWEEN %(first)s AND %(last)s
GROUP BY business_date
ORDER BY business_date
