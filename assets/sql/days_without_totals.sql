-- Facts of which the source's totals are missing, by day.
SELECT day.business_date, fact.fact
FROM (SELECT unnest(CAST($days AS DATE[])) AS business_date) AS day
CROSS JOIN (SELECT unnest(CAST($facts AS VARCHAR[])) AS fact) AS fact
ANTI JOIN (
    FROM lake.source_totals
    WHERE measure = 'rows' AND business_date BETWEEN $first AND $last
) AS total
    ON total.business_date = day.business_date AND total.fact = fact.fact
ORDER BY ALL
