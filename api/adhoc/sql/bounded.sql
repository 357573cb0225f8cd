-- A row that is too long comes with its length only: it is cut here, before it is sent.
-- Written answer.*, not answer: a column of that name would be taken instead of the row.
SELECT size.bytes, cell.*
FROM (
{statement}
) AS answer
CROSS JOIN LATERAL (SELECT pg_catalog.octet_length((answer.*)::pg_catalog.text) AS bytes) AS size
LEFT JOIN LATERAL (SELECT answer.*) AS cell ON size.bytes OPERATOR(pg_catalog.<=) {row_bytes}
LIMIT {rows}
