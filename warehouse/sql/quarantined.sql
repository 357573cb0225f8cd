-- Rows that cannot be used, by fact and reason.
SELECT fact, reason, count(*) AS row_count, min(business_date) AS first_day,
       max(business_date) AS last_day, max(last_seen_at) AS last_seen_at
FROM ops.quarantine
GROUP BY fact, reason
ORDER BY fact, reason
