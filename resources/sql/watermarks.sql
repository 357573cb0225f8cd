-- The oldest source snapshot of each day that all of the facts were extracted for.
SELECT business_date, min(source_snapshot_at) AS watermark
FROM lake.source_totals
WHERE measure = 'rows' AND list_contains($facts, fact) AND business_date BETWEEN $first AND $last
GROUP BY business_date
HAVING count(DISTINCT fact) = len($facts)
ORDER BY business_date
