-- Rows refused by file, column and reason.
SELECT r.file, coalesce(c.header, r.column_name), r.reason, count(DISTINCT r.line)
FROM import_refused AS r
LEFT JOIN import_columns AS c ON c.file = r.file AND c.staged = r.column_name
GROUP BY 1, 2, 3
ORDER BY 1, 4 DESC, 3
