-- Failed audits that keep something newer from the partition: its own, and those of its days.
SELECT dataset, partition_key, failures, audited_at, run_id
FROM ops.audits
WHERE NOT passed
  AND ((dataset = %(dataset)s AND partition_key = %(partition_key)s)
       OR (dataset = ANY(%(before)s) AND partition_key BETWEEN %(first)s AND %(last)s))
ORDER BY dataset, partition_key
