-- Past days that changed at the source and have not been published from a reading since.
SELECT business_date, fact, found_at, found_by, requests, requested_at
FROM ops.late_days
WHERE resolved_at IS NULL
ORDER BY found_at, business_date, fact
