-- The version of a partition that readers are given, and what it was last compared with.
SELECT p.publication_id, u.data_version, u.published_at, p.is_complete, p.final_at, p.checked_at,
       p.source_watermark, p.lake_snapshot, p.input_version, p.run_id, p.code_version,
       (SELECT count(*) FROM ops.publications AS v
        WHERE v.dataset = p.dataset AND v.partition_key = p.partition_key) AS versions
FROM ops.partitions AS p JOIN ops.publications AS u USING (publication_id)
WHERE p.dataset = %(dataset)s AND p.partition_key = %(key)s
