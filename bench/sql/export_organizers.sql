SELECT CAST(1 AS BIGINT) AS organizer_id, 'Sauti Collective' AS name, 'KE' AS country
