-- Metrics of an organizer, or of some of their events, by number, event and currency. A number has
-- the runs of days that belong to the same windows: each run is one lookup in the index.
WITH summed AS (
    SELECT w.number, d.event_id, d.currency
        {%- for metric in metrics %}, sum(d.{{ metric }})::bigint AS {{ metric }}{% endfor %}
    FROM unnest(%(numbers)s::int[], %(firsts)s::date[], %(lasts)s::date[]) AS w (number, first, last)
    JOIN reporting.daily_metrics AS d ON d.business_date BETWEEN w.first AND w.last
    WHERE d.organizer_id = %(organizer)s
      AND (%(events)s::bigint[] IS NULL OR d.event_id = ANY (%(events)s))
    GROUP BY w.number, d.event_id, d.currency
)
SELECT s.*, e.event_name, e.status
FROM summed AS s
LEFT JOIN reporting.event_summary AS e USING (event_id)
ORDER BY s.event_id, s.currency, s.number
