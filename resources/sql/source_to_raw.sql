-- Totals that differ between the source and the staged rows; zero and absent are equal.
SELECT business_date, fact, organizer_id, currency, measure,
       CAST(sum(at_source) AS BIGINT) AS at_source, CAST(sum(in_raw) AS BIGINT) AS in_raw
FROM (
    SELECT business_date, fact, organizer_id, currency, measure, value AS at_source, 0 AS in_raw
    FROM source_totals
    UNION ALL
    SELECT business_date, fact, organizer_id, currency, measure, 0 AS at_source, value AS in_raw
    FROM raw_totals
)
GROUP BY business_date, fact, organizer_id, currency, measure
HAVING sum(at_source) <> sum(in_raw)
ORDER BY ALL
