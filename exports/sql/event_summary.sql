SELECT *
FROM warehouse.reporting.event_summary
WHERE ($organizer_id IS NULL OR organizer_id = $organizer_id)
  AND ($events IS NULL OR list_contains($events, event_id))
  AND ($status IS NULL OR list_contains($status, status))
  AND ($currencies IS NULL OR list_contains($currencies, currency))
  AND ($starting_from IS NULL OR starts_at >= $starting_from)
  AND ($starting_until IS NULL OR starts_at < $starting_until)
