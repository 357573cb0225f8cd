-- Sums of the rows about to be published beside the source's own totals of the same days: how many
-- there are of each day, and those that differ.
WITH published AS (
    UNPIVOT (
        SELECT business_date, organizer_id, currency,
               {% for measure in measures -%}
               CAST(sum({{ measure }}) AS BIGINT) AS {{ measure }}{{ "," if not loop.last }}
               {% endfor %}
        FROM computed
        GROUP BY ALL
    ) ON {{ measures | join(", ") }} INTO NAME measure VALUE value
), source AS (
    SELECT business_date, organizer_id, currency, measure, CAST(sum(value) AS BIGINT) AS value
    FROM lake.source_totals
    WHERE business_date BETWEEN $first AND $last AND list_contains($measures, measure)
    GROUP BY ALL
), compared AS (
    SELECT business_date, organizer_id, currency, measure, coalesce(source.value, 0) AS expected,
           coalesce(published.value, 0) AS found
    FROM published
    FULL JOIN source USING (business_date, organizer_id, currency, measure)
)
SELECT business_date, count(*) AS cells,
       list((organizer_id, currency, measure, expected, found)
            ORDER BY organizer_id, currency, measure) FILTER (expected <> found) AS differing
FROM compared
GROUP BY ALL
ORDER BY ALL
