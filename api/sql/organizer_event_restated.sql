-- Periods of which a value of the event changed after they were closed. The event is looked up first.
SELECT DISTINCT partition_key
FROM ops.restatements
WHERE event_id = (
        SELECT event_id FROM reporting.event_summary
        WHERE event_id = %(event)s
          AND (%(organizer)s::bigint IS NULL OR organizer_id = %(organizer)s)
    )
  AND partition_key BETWEEN %(first_key)s AND %(last_key)s AND dataset = %(dataset)s
