-- Remember late rows; return, by day and fact, only those that were not known as late before.
WITH new AS (
    INSERT INTO ops.late_rows (fact, row_key, business_date, recorded_at)
    SELECT * FROM unnest(%(facts)s::text[], %(row_keys)s::text[], %(business_dates)s::date[],
                         %(recorded)s::timestamptz[])
    ON CONFLICT DO NOTHING
    RETURNING fact, business_date, recorded_at
)
SELECT fact, business_date, count(*) AS rows, max(recorded_at) AS newest_recorded_at
FROM new GROUP BY fact, business_date ORDER BY fact, business_date
