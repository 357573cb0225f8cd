-- How many partitions of each dataset are open, provisional and final.
SELECT dataset,
       count(*) FILTER (WHERE final_at IS NULL AND NOT is_complete) AS open,
       count(*) FILTER (WHERE final_at IS NULL AND is_complete) AS provisional,
       count(*) FILTER (WHERE final_at IS NOT NULL) AS final
FROM ops.partitions
GROUP BY dataset
ORDER BY dataset
