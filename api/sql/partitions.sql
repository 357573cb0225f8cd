-- Every partition that readers are given of some finished tables.
SELECT p.dataset, p.partition_key, p.is_complete, p.final_at IS NOT NULL AS is_final, u.published_at
FROM ops.partitions AS p JOIN ops.publications AS u USING (publication_id)
WHERE p.dataset = ANY (%(datasets)s)
ORDER BY p.dataset, p.partition_key
