-- What the ledger holds, for each day, kind and currency, and what it could not resolve.
SELECT business_date, kind, currency, count(*) AS movements,
       count(*) FILTER (WHERE organizer_id IS NULL) AS without_organizer,
       count(*) FILTER (
           WHERE ticket_type_id IS NOT NULL
           AND ticket_type_id NOT IN (SELECT ticket_type_id FROM lake.raw_ticket_types)
       ) AS without_ticket_type,
       {% for measure in measures -%}
       CAST(sum({{ measure }}) AS BIGINT) AS {{ measure }}{{ "," if not loop.last }}
       {% endfor %}
FROM lake.movements
WHERE business_date BETWEEN $first AND $last
GROUP BY ALL
ORDER BY ALL
