-- Periods whose published values changed after they were closed, as far as the caller sees them.
SELECT DISTINCT partition_key
FROM ops.restatements
WHERE dataset = %(dataset)s AND partition_key BETWEEN %(first_key)s AND %(last_key)s
  AND (%(event_id)s::bigint IS NULL OR event_id = %(event_id)s)
  AND (%(organizer_id)s::bigint IS NULL OR organizer_id = %(organizer_id)s)
ORDER BY partition_key
