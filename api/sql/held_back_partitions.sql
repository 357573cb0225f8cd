-- Partitions whose last audit failed: readers are given the version before, if there is one.
SELECT dataset, partition_key FROM ops.audits WHERE NOT passed
