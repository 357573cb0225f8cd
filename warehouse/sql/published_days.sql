-- The version of each day that a rollup was summed from: the newest one up to its input; and the one
-- that readers see now.
SELECT DISTINCT ON (u.partition_key)
       u.partition_key, u.publication_id, u.data_version, u.lake_snapshot, u.code_version,
       p.data_version AS present_version
FROM ops.publications AS u
JOIN ops.partitions AS p USING (dataset, partition_key)
WHERE u.dataset = %(daily)s AND u.publication_id <= %(input_version)s
  AND u.partition_key BETWEEN %(first)s AND %(last)s
ORDER BY u.partition_key, u.publication_id DESC
