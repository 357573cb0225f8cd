-- The ledger's sums beside what plain SQL on the source says of the same days, for each day,
-- organizer, currency and measure that is not zero on both sides.
WITH ledger AS (
    UNPIVOT (
        SELECT business_date, organizer_id, currency,
               {% for measure in measures -%}
               sum({{ measure }}) AS {{ measure }}{{ "," if not loop.last }}
               {% endfor %}
        FROM controls
        GROUP BY ALL
    ) ON {{ measures | join(", ") }} INTO NAME measure VALUE value
), source AS (
    SELECT business_date, organizer_id, currency, measure, sum(value) AS value
    FROM lake.source_totals
    WHERE business_date BETWEEN $first AND $last AND measure NOT IN ('rows', 'recorded_until')
    GROUP BY ALL
)
SELECT business_date, organizer_id, currency, measure, coalesce(source.value, 0) AS source_value,
       coalesce(ledger.value, 0) AS ledger_value
FROM ledger
FULL JOIN source USING (business_date, organizer_id, currency, measure)
WHERE coalesce(source.value, 0) <> 0 OR coalesce(ledger.value, 0) <> 0
