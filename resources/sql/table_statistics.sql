-- Rows of a table as the planner estimates them, the leading columns of its indexes, and its columns.
SELECT c.reltuples::bigint AS rows,
       ARRAY(SELECT DISTINCT a.attname::text
             FROM pg_index i
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
             WHERE i.indrelid = c.oid AND i.indisvalid ORDER BY 1) AS indexed,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0) AS columns
FROM pg_class c
WHERE c.oid = to_regclass(%s)
