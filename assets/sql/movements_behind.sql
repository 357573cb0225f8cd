-- The movements behind the change of each measure of each cell of one day.
SELECT {{ cell | join(", ") }}, measure, CAST(sum(value) AS BIGINT) AS delta,
       count(*) FILTER (change = 'removed') AS removed,
       count(*) FILTER (change = 'changed') AS changed,
       count(*) FILTER (change = 'added' AND kind = 'refund') AS refunds,
       count(*) FILTER (change = 'added' AND kind <> 'refund') AS others
FROM (UNPIVOT changes ON {{ values | join(", ") }} INTO NAME measure VALUE value)
WHERE value <> 0 AND business_date = $day AND list_contains($events, event_id)
GROUP BY ALL
