-- The last audit of a partition before publication, and of what it is made of.
SELECT dataset, count(*) AS partitions, count(*) FILTER (WHERE passed) AS passed,
       max(audited_at) AS audited_at,
       coalesce(array_agg(partition_key ORDER BY partition_key) FILTER (WHERE NOT passed), '{}')
           AS held_back
FROM ops.audits
WHERE (dataset = %(dataset)s AND partition_key = %(key)s)
   OR (dataset = ANY (%(before)s) AND partition_key BETWEEN %(first_key)s AND %(last_key)s)
GROUP BY dataset
ORDER BY dataset
