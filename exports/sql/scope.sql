-- The events that are asked for.
CREATE TEMP TABLE scope AS
SELECT event_id
FROM lake.raw_events
WHERE ($organizer_id IS NULL OR organizer_id = $organizer_id)
  AND ($events IS NULL OR list_contains($events, event_id))
