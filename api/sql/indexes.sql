-- Indexes of the finished tables: size, and how often each was used since statistics began.
SELECT s.relname AS table_name, s.indexrelname AS index_name, s.idx_scan AS scans,
       s.last_idx_scan AS last_used_at, pg_relation_size(s.indexrelid) AS bytes,
       i.indisprimary AS is_primary_key, i.indisunique AS is_unique,
       pg_get_indexdef(s.indexrelid) AS definition
FROM pg_stat_user_indexes AS s JOIN pg_index AS i ON i.indexrelid = s.indexrelid
WHERE s.schemaname = 'reporting'
ORDER BY s.relname, s.indexrelname
