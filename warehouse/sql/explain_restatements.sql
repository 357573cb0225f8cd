-- How often the value was restated, oldest first.
SELECT restatement_id, publication_id, replaced_publication_id, scope, old_value, new_value, cause,
       was_final, run_id, restated_at
FROM ops.restatements
WHERE dataset = %(dataset)s AND partition_key = %(partition_key)s AND event_id = %(event_id)s
  AND currency = %(currency)s AND metric = %(metric)s AND scope @> %(scope)s
ORDER BY restatement_id
