-- The version of each partition that readers saw at an instant, and the one they see now.
SELECT DISTINCT ON (u.partition_key)
       u.partition_key, u.publication_id, u.data_version, u.input_version, u.lake_snapshot,
       u.source_watermark, u.is_complete, u.run_id, u.code_version, u.published_at, u.row_count,
       p.data_version AS present_version
FROM ops.publications AS u
JOIN ops.partitions AS p USING (dataset, partition_key)
WHERE u.dataset = %(dataset)s AND u.published_at <= %(instant)s
  AND u.partition_key BETWEEN %(first)s AND %(last)s
ORDER BY u.partition_key, u.publication_id DESC
