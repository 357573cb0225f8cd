-- Days that were read from the source for every one of the facts, oldest first.
SELECT business_date
FROM lake.source_totals
WHERE measure = 'rows' AND list_contains($facts, fact)
  AND ($first IS NULL OR business_date >= $first)
  AND ($last IS NULL OR business_date <= $last)
GROUP BY business_date
HAVING count(DISTINCT fact) = len($facts)
ORDER BY business_date
