-- What was last read from the source for a range of days, by fact: of all organizers.
SELECT fact, count(*) AS days, min(source_snapshot_at) AS oldest_snapshot_at,
       max(source_snapshot_at) AS newest_snapshot_at, max(lake_snapshot) AS lake_snapshot,
       sum(row_count)::bigint AS row_count, sum(quarantined_count)::bigint AS quarantined_count
FROM ops.extractions
WHERE business_date BETWEEN %(first)s AND %(last)s
GROUP BY fact
ORDER BY fact
