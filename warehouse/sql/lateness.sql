-- How late movements of recent days were recorded, over all kinds.
SELECT within_seconds, sum(movements)::bigint AS movements
FROM ops.lateness
WHERE business_date >= %(since)s
GROUP BY within_seconds
ORDER BY within_seconds
