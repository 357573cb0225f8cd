-- Rows of the quarantine of which the catalogue now has what they refer to.
SELECT business_date, fact, count(*) AS rows
FROM unresolved AS u
WHERE (column_name = 'event_id' AND id IN (SELECT event_id FROM lake.raw_events))
   OR (column_name = 'ticket_type_id' AND id IN (SELECT ticket_type_id FROM lake.raw_ticket_types))
GROUP BY ALL
ORDER BY ALL
