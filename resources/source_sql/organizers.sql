SELECT organizer_id, name, country
FROM organizers
