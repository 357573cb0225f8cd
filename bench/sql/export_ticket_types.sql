SELECT DISTINCT ticket_type_id, event_id, ticket_type_name AS name, 'admission' AS kind,
       CAST(0 AS BIGINT) AS price_minor, currency, CAST(NULL AS BIGINT) AS quantity
FROM source.bench.attendees
