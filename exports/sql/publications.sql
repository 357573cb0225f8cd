-- The versions that readers see of a table's partitions, oldest first.
SELECT p.dataset, p.partition_key, p.data_version, u.published_at, p.is_complete
FROM warehouse.ops.partitions AS p
JOIN warehouse.ops.publications AS u ON u.publication_id = p.publication_id
WHERE p.dataset = $dataset
  AND ($first IS NULL OR p.partition_key >= $first)
  AND ($last IS NULL OR p.partition_key <= $last)
ORDER BY p.partition_key
