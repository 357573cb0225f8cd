-- Partitions whose last audit failed: readers see the version before, if there is one.
SELECT a.dataset, a.partition_key, a.failures, a.audited_at, a.run_id,
       u.published_at AS serving_since
FROM ops.audits AS a
LEFT JOIN ops.partitions AS p USING (dataset, partition_key)
LEFT JOIN ops.publications AS u ON u.publication_id = p.publication_id
WHERE NOT a.passed
ORDER BY a.dataset, a.partition_key
