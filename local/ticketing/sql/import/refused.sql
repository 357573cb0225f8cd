-- The report: every problem of every refused row, with the column as the file calls it.
SELECT r.file, r.line, coalesce(c.header, r.column_name), r.value, r.reason || coalesce(' (' || r.detail || ')', '')
FROM import_refused AS r
LEFT JOIN import_columns AS c ON c.file = r.file AND c.staged = r.column_name
ORDER BY r.file, r.line, r.column_name, r.reason
