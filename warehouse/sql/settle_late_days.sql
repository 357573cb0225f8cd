-- A late day is resolved once its fact was read again since the change was found and every daily dataset was
-- published from that or a newer reading. It is late again if an older reading was committed after that one.
UPDATE ops.late_days AS l
SET resolved_at = CASE WHEN s.is_resolved THEN clock_timestamp() END
FROM (
    SELECT d.business_date, d.fact,
           EXISTS (SELECT FROM ops.extractions AS e
                   WHERE e.fact = d.fact AND e.business_date = d.business_date
                     AND e.source_snapshot_at >= d.found_at)
           AND NOT EXISTS (SELECT FROM unnest(%(datasets)s::text[]) AS n(dataset)
                           LEFT JOIN ops.partitions AS p
                             ON p.dataset = n.dataset AND p.partition_key = d.business_date::text
                           WHERE (p.source_watermark >= d.found_at) IS NOT TRUE) AS is_resolved
    FROM ops.late_days AS d
) AS s
WHERE s.business_date = l.business_date AND s.fact = l.fact AND s.is_resolved <> (l.resolved_at IS NOT NULL)
