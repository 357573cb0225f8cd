-- Past days that changed rows touch: those of a row as it is now that the lake does not have as it was last
-- written, and those under which the lake holds it although it has left them.
WITH dated AS (
    SELECT {{ keys | join(", ") }}, recorded_at, list_distinct([{{ dates | join(", ") }}]) AS days FROM {{ changed }}
), now AS (
    SELECT {{ keys | join(", ") }}, unnest(days) AS business_date FROM dated
), held AS (
    SELECT {{ keys | join(", ") }}, business_date, recorded_at AS held_at
    FROM lake.{{ table }} SEMI JOIN {{ changed }} USING ({{ keys | join(", ") }})
    WHERE {{ keys[0] }} BETWEEN $lowest AND $highest
)
SELECT concat_ws('/', {{ keys | join(", ") }}) AS row_key, business_date, recorded_at
FROM (FROM now FULL JOIN held USING ({{ keys | join(", ") }}, business_date)) JOIN dated USING ({{ keys | join(", ") }})
WHERE business_date BETWEEN $first AND $last
  AND (list_contains(days, business_date) AND held_at = recorded_at) IS NOT TRUE
