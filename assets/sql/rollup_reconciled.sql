-- Sums of a rollup's rows beside those Postgres makes of the published days: how many there are of
-- each period, and those that differ.
WITH published AS (
    UNPIVOT (
        SELECT {{ period }} AS period, event_id, currency,
               {% for metric in metrics -%}
               CAST(sum({{ metric }}) AS BIGINT) AS {{ metric }}{{ "," if not loop.last }}
               {% endfor %}
        FROM computed
        GROUP BY ALL
    ) ON {{ metrics | join(", ") }} INTO NAME measure VALUE value
), days AS (
    UNPIVOT (FROM postgres_query('warehouse', {{ published_days }}))
    ON {{ metrics | join(", ") }} INTO NAME measure VALUE value
), compared AS (
    SELECT period, event_id, currency, measure, coalesce(days.value, 0) AS expected,
           coalesce(published.value, 0) AS found
    FROM published
    FULL JOIN days USING (period, event_id, currency, measure)
)
SELECT period, count(*) AS cells,
       list((event_id, currency, measure, expected, found)
            ORDER BY event_id, currency, measure) FILTER (expected <> found) AS differing
FROM compared
GROUP BY ALL
ORDER BY ALL
