-- Rules of events.csv that one row shows by itself.
INSERT INTO import_refused (file, line, column_name, value, reason, key)
SELECT 'events.csv', line, 'ends_at', ends_at::text, 'is before starts_at; correct one of them', event_id
FROM import_events WHERE ends_at < starts_at
UNION ALL
SELECT 'events.csv', line, 'cancelled_at', '', 'is empty though the event is cancelled; add it', event_id
FROM import_events WHERE status = 'cancelled' AND cancelled_at IS NULL
UNION ALL
SELECT 'events.csv', line, 'status', status, 'contradicts cancelled_at; write cancelled or empty cancelled_at', event_id
FROM import_events WHERE status <> 'cancelled' AND cancelled_at IS NOT NULL
