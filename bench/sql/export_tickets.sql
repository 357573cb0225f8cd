-- A ticket is stored for the day of its sale, and again for the day it was cancelled on.
WITH tickets AS (
    SELECT *, CAST(issued_at AT TIME ZONE 'Africa/Nairobi' AS DATE) AS issued_day,
           CAST(cancelled_at AT TIME ZONE 'Africa/Nairobi' AS DATE) AS cancelled_day
    FROM source.bench.attendees
),
days AS (
    SELECT *, issued_day AS business_date FROM tickets
    UNION ALL
    SELECT *, cancelled_day FROM tickets WHERE cancelled_day <> issued_day
)
SELECT business_date, ticket_id, order_id, event_id, ticket_type_id, currency,
       charged_minor AS list_price_minor, charged_minor, false AS is_comp, issued_at, cancelled_at,
       CASE WHEN cancelled_at IS NULL THEN 0 ELSE charged_minor END AS unsold_minor,
       CAST(0 AS BIGINT) AS retained_fee_minor, false AS is_test,
       coalesce(cancelled_at, issued_at) AS recorded_at, issued_day AS sale_date,
       business_date = issued_day AS is_issued_day,
       coalesce(business_date = cancelled_day, false) AS is_cancelled_day
FROM days
ORDER BY business_date
