-- Movements that made a value be restated: those that changed a measure it is made of.
SELECT publication_id, movement_id, kind, change, effective_at, recorded_at, deltas
FROM ops.restatement_movements
WHERE publication_id = ANY (%(publications)s) AND event_id = %(event)s AND currency = %(currency)s
  AND scope @> %(scope)s::jsonb AND deltas ?| %(terms)s::text[]
ORDER BY publication_id, movement_id
LIMIT %(limit)s
