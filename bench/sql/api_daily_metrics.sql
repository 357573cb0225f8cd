-- Days of events with every metric: money 0 to 4,000,000 minor units, counts 0 to 39. Identities of
-- derived metrics hold. Ordered as days are published.
INSERT INTO reporting.daily_metrics ({{ columns }})
SELECT d.day, e.organizer_id, e.event_id, 'KES'
    {%- for metric in metrics %}, {{ metric }}{% endfor %}
FROM (
    SELECT %(last)s::date - n AS day FROM generate_series(0, %(days)s - 1) AS n
) AS d
CROSS JOIN (
    SELECT organizer AS organizer_id, organizer * 100 + n AS event_id
    FROM generate_series(1, %(organizers)s) AS organizer, generate_series(0, %(events)s - 1) AS n
) AS e
CROSS JOIN LATERAL (
    -- A number for each row, the same in every run.
    SELECT abs(hashint8(e.event_id::bigint * 100000 + (d.day - DATE '2020-01-01'))::bigint) AS seed
) AS s
CROSS JOIN LATERAL (
    SELECT
        {%- for metric in base %}
        {% if not loop.first %}, {% endif -%}
        (seed / {{ loop.index }} %% 40){% if metric in money %} * 100000{% endif %} AS {{ metric }}
        {%- endfor %}
) AS b
CROSS JOIN LATERAL (
    SELECT
        {%- for metric, formula in derived %}
        {% if not loop.first %}, {% endif %}{{ formula }} AS {{ metric }}
        {%- endfor %}
) AS v
ORDER BY d.day, e.organizer_id, e.event_id
