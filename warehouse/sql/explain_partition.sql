-- The version of a partition that readers see.
SELECT p.partition_key, p.final_at, p.lake_snapshot AS compared_snapshot, u.publication_id,
       u.data_version, u.input_version, u.lake_snapshot, u.source_watermark, u.is_complete,
       u.run_id, u.code_version, u.published_at
FROM ops.partitions AS p
JOIN ops.publications AS u USING (publication_id)
WHERE p.dataset = %(dataset)s AND p.partition_key = %(partition_key)s
