-- The present state of every finished table, as one value each.
SELECT dataset, version::text AS version FROM ops.dataset_versions
