-- The newest versions of a partition, and when readers were given each.
SELECT publication_id, data_version, is_complete, published_at
FROM ops.publications
WHERE dataset = %(dataset)s AND partition_key = %(key)s
ORDER BY publication_id DESC
LIMIT %(limit)s
