-- Every partition that was ever published, by first day.
SELECT partition_key
FROM ops.partitions
WHERE dataset = %(dataset)s AND partition_key BETWEEN %(first)s AND %(last)s
ORDER BY partition_key
