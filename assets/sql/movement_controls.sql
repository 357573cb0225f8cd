-- What the ledger holds, for each day, kind and currency, and what it could not resolve.
SELECT business_date, kind, currency, count(*) AS movements,
       count(*) FILTER (
           WHERE organizer_id IS NULL OR (ticket_type_id IS NOT NULL AND known_type_id IS NULL)
       ) AS unresolved,
       {% for measure in measures -%}
       CAST(sum({{ measure }}) AS BIGINT) AS {{ measure }}{{ "," if not loop.last }}
       {% endfor %}
FROM movements
LEFT JOIN (SELECT ticket_type_id AS known_type_id FROM lake.raw_ticket_types)
    ON known_type_id = ticket_type_id
WHERE business_date BETWEEN $first AND $last
GROUP BY ALL
ORDER BY ALL
