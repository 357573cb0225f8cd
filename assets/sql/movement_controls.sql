-- What the ledger holds, for each day, organizer, kind and currency, how late it was recorded, and how
-- much of it names an event or ticket type that is not in the catalogue.
SELECT business_date, organizer_id, kind, currency,
       CASE WHEN kind NOT IN ({{ lateness_kinds }}) THEN NULL
            {% for edge in lateness_edges -%}
            WHEN epoch_us(recorded_at) - epoch_us(effective_at) <= {{ edge }}000000 THEN {{ edge }}
            {% endfor -%}
            WHEN recorded_at IS NOT NULL AND effective_at IS NOT NULL THEN {{ beyond }}
       END AS within_seconds,
       count(*) AS movements,
       count(*) FILTER (WHERE organizer_id IS NULL
           OR (ticket_type_id IS NOT NULL AND known_ticket_type_id IS NULL)) AS unresolved,
       {% for measure in measures -%}
       CAST(sum({{ measure }}) AS BIGINT) AS {{ measure }}{{ "," if not loop.last }}
       {% endfor %}
FROM movements
LEFT JOIN (SELECT ticket_type_id AS known_ticket_type_id FROM lake.raw_ticket_types)
    ON known_ticket_type_id = ticket_type_id
WHERE business_date BETWEEN $first AND $last
GROUP BY ALL
