-- How the finished tables are read: by index or as a whole, and how much of them.
SELECT s.relname AS table_name, s.n_live_tup AS rows, pg_table_size(s.relid) AS bytes,
       s.seq_scan AS sequential_scans, s.seq_tup_read AS rows_read_sequentially,
       coalesce(s.idx_scan, 0) AS index_scans,
       (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()) AS since
FROM pg_stat_user_tables AS s
WHERE s.schemaname = 'reporting'
ORDER BY s.relname
