-- What the ledger holds, for each day, organizer, kind and currency, and how late it was recorded.
SELECT business_date, organizer_id, kind, currency,
       CASE WHEN kind NOT IN ({{ lateness_kinds }}) THEN NULL
            {% for edge in lateness_edges -%}
            WHEN epoch_us(recorded_at) - epoch_us(effective_at) <= {{ edge }}000000 THEN {{ edge }}
            {% endfor -%}
            WHEN recorded_at IS NOT NULL AND effective_at IS NOT NULL THEN {{ beyond }}
       END AS within_seconds,
       count(*) AS movements,
       {% for measure in measures -%}
       CAST(sum({{ measure }}) AS BIGINT) AS {{ measure }}{{ "," if not loop.last }}
       {% endfor %}
FROM movements
WHERE business_date BETWEEN $first AND $last
GROUP BY ALL
