-- The version of each day that a rollup was summed from: the newest one up to its input.
SELECT DISTINCT ON (partition_key) partition_key, publication_id, data_version, lake_snapshot,
       code_version
FROM ops.publications
WHERE dataset = %(daily)s AND publication_id <= %(input_version)s
  AND partition_key BETWEEN %(first)s AND %(last)s
ORDER BY partition_key, publication_id DESC
