-- Periods of which a value of the organizer changed after they were closed.
SELECT DISTINCT partition_key
FROM ops.restatements
WHERE organizer_id = %(organizer)s AND dataset = %(dataset)s
  AND partition_key BETWEEN %(first_key)s AND %(last_key)s
  AND (%(events)s::bigint[] IS NULL OR event_id = ANY (%(events)s))
