-- Published values of closed periods that changed, the newest first.
SELECT restatement_id, dataset, partition_key, organizer_id, event_id, currency, scope, metric,
       old_value, new_value, cause, was_final, restated_at
FROM ops.restatements
WHERE restatement_id < %(before)s
  AND (%(dataset)s::text IS NULL OR dataset = %(dataset)s)
  AND (%(first_key)s::text IS NULL OR partition_key >= %(first_key)s)
  AND (%(last_key)s::text IS NULL OR partition_key <= %(last_key)s)
  AND (%(organizer)s::bigint IS NULL OR organizer_id = %(organizer)s)
  AND (%(event_id)s::bigint IS NULL OR event_id = %(event_id)s)
  AND (%(metric)s::text IS NULL OR metric = %(metric)s)
ORDER BY restatement_id DESC
LIMIT %(limit)s
