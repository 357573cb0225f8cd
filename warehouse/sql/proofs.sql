-- The last audit of every partition, by dataset; and the extractions, each of which was proven
-- against the source before it was committed to the lake.
SELECT dataset, count(*) AS partitions, count(*) FILTER (WHERE passed) AS proven,
       sum(cells_compared)::bigint AS cells, max(audited_at) AS last_proof_at,
       array_agg(partition_key ORDER BY partition_key) FILTER (WHERE NOT passed) AS held_back
FROM ops.audits
GROUP BY dataset
UNION ALL
SELECT 'raw', count(*), count(*), NULL, max(source_snapshot_at), NULL
FROM ops.extractions
HAVING count(*) > 0
