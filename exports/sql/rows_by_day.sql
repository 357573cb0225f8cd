-- Rows of the facts that were read of each day: at least as many as movements, within a small factor.
SELECT business_date, CAST(sum(value) AS BIGINT) AS row_count
FROM lake.source_totals
WHERE measure = 'rows' AND list_contains($facts, fact)
  AND ($first IS NULL OR business_date >= $first)
  AND ($last IS NULL OR business_date <= $last)
GROUP BY business_date
ORDER BY business_date
