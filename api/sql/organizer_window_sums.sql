-- Metrics of an organizer by number and currency. A number has the runs of days that belong to the
-- same windows: each run is one lookup in the index.
SELECT w.number, d.currency
    {%- for metric in metrics %}, sum(d.{{ metric }})::bigint AS {{ metric }}{% endfor %}
FROM unnest(%(numbers)s::int[], %(firsts)s::date[], %(lasts)s::date[]) AS w (number, first, last)
JOIN ops.organizer_days AS d ON d.business_date BETWEEN w.first AND w.last
WHERE d.organizer_id = %(organizer)s
GROUP BY w.number, d.currency
ORDER BY d.currency, w.number
