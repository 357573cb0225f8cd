-- How many stored rows have a key in each part of a range; only parts that have some.
SELECT ({{ key }} - {{ first }}) // {{ width }} AS part, count(*) AS row_count
FROM {{ "chosen" if scoped else "lake.raw_" ~ fact }}
WHERE {{ key }} BETWEEN {{ first }} AND {{ last }}
GROUP BY part
ORDER BY part
