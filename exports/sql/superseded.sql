{%- from "newest.sql" import versions -%}
-- The stored versions that are not the newest of their row, in narrow steps that can be spilled.
CREATE TEMP TABLE superseded_{{ fact }} AS
WITH repeated AS (
    SELECT {{ key }}
    FROM (
        {{ versions(fact, link, scoped, key) }}
    )
    GROUP BY {{ key }}
    HAVING count(*) > 1
),
aged AS (
    SELECT raw.{{ key }}, raw.business_date,
           row_number() OVER (
               PARTITION BY raw.{{ key }}
               ORDER BY days.read_at DESC NULLS LAST, raw.recorded_at DESC, raw.business_date DESC
           ) AS age
    FROM lake.raw_{{ fact }} AS raw
    SEMI JOIN repeated ON repeated.{{ key }} = raw.{{ key }}
    LEFT JOIN (
        SELECT business_date, source_snapshot_at AS read_at
        FROM lake.source_totals
        WHERE fact = '{{ fact }}' AND measure = 'rows'
    ) AS days ON days.business_date = raw.business_date
)
SELECT {{ key }}, business_date
FROM aged
WHERE age > 1
