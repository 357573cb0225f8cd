-- Rows in quarantine whose only fault is that what they refer to was not in the catalogue.
SELECT business_date, fact, row_key, column_name, found::bigint AS id
FROM ops.quarantine
WHERE reason = ANY(%(unknown)s) AND business_date IS NOT NULL
ORDER BY business_date, fact, row_key
