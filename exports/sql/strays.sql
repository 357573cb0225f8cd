-- Chosen keys with a stored version that names another event: the row was moved at some time.
CREATE TEMP TABLE strays_{{ fact }} AS
SELECT DISTINCT {{ link }}
FROM lake.raw_{{ fact }}
ANTI JOIN scope USING (event_id)
SEMI JOIN chosen USING ({{ link }})
