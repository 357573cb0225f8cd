-- Partitions whose last audit failed: readers see the version before, if there is one. What fails in
-- the ledger holds the daily datasets back.
SELECT a.dataset, a.partition_key, a.failures, a.audited_at, a.run_id,
       u.published_at AS serving_since
FROM ops.audits AS a
LEFT JOIN ops.partitions AS p
    ON p.dataset = CASE a.dataset WHEN 'movements' THEN %(daily)s ELSE a.dataset END
    AND p.partition_key = a.partition_key
LEFT JOIN ops.publications AS u ON u.publication_id = p.publication_id
WHERE NOT a.passed
ORDER BY a.dataset, a.partition_key
