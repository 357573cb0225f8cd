-- Keys of every row of which a stored version, not always the newest, is of an event asked for.
CREATE TEMP TABLE chosen AS
SELECT {{ key }}
FROM lake.raw_{{ fact }}
SEMI JOIN scope USING (event_id)
