-- What a published distinct count counts: one row for each distinct value, with its movements.
SELECT CAST({{ of }} AS VARCHAR) AS {{ of }}, min(movement_id) AS movement_id, any_value(kind) AS kind,
       min(business_date) AS business_date, min(effective_at) AS effective_at,
       max(recorded_at) AS recorded_at, count(*) AS movements, CAST(1 AS BIGINT) AS contribution
FROM movements
WHERE business_date BETWEEN $first AND $last AND event_id = $event_id AND currency = $currency
  AND {{ of }} IS NOT NULL AND {{ where }}
GROUP BY {{ of }}
ORDER BY effective_at, movement_id
