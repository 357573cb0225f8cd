-- A fact's totals over its staged rows, one row for each measure.
WITH wide AS (
:statement
)
SELECT business_date,
       CASE WHEN measure NOT IN ('rows', 'recorded_until') THEN organizer_id END AS organizer_id,
       CASE WHEN measure NOT IN ('rows', 'recorded_until') THEN currency END AS currency,
       measure,
       CAST(CASE measure WHEN 'recorded_until' THEN max(value) ELSE sum(value) END AS BIGINT)
           AS value
FROM (
    UNPIVOT (
        SELECT business_date, organizer_id, currency,
               CAST(COLUMNS(* EXCLUDE (business_date, organizer_id, currency)) AS HUGEINT)
        FROM wide
    )
    ON COLUMNS(* EXCLUDE (business_date, organizer_id, currency))
    INTO NAME measure VALUE value
)
GROUP BY 1, 2, 3, measure
