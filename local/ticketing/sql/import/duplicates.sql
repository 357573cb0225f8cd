-- Rows that repeat a key: the first one stays.
INSERT INTO import_refused (file, line, column_name, value, reason, detail, key)
SELECT {file}, line, {key_name}, {key}::text, 'repeats a key; keep one of the rows', 'first on line ' || first_line, {key}
FROM (SELECT line, {key}, min(line) OVER (PARTITION BY {key}) AS first_line FROM {staged}) AS keyed
WHERE line > first_line
