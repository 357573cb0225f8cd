-- The waterfall by period of each organizer, event or currency; of one page of them, within a
-- currency the greatest gross revenue of the whole range first.
WITH sums AS (
    SELECT {{ column }} AS period, currency {%- for name in keys %}, {{ name }}{% endfor %}
        {%- for metric in metrics %}, sum({{ metric }})::bigint AS {{ metric }}{% endfor %}
    FROM reporting.{{ dataset }}
    WHERE {{ column }} BETWEEN %(first)s AND %(last)s
        {%- for name in filters %} AND {{ name }} = %({{ name }}_asked)s{% endfor %}
    GROUP BY {{ column }}, currency {%- for name in keys %}, {{ name }}{% endfor %}
),
ranked AS (
    SELECT currency {%- for name in keys %}, {{ name }}{% endfor %}, count(*) OVER () AS groups,
        row_number() OVER (
            ORDER BY currency, sum(gross_revenue) DESC {%- for name in keys %}, {{ name }}{% endfor %}
        ) AS rank
    FROM sums GROUP BY currency {%- for name in keys %}, {{ name }}{% endfor %}
)
SELECT s.*, r.rank, r.groups
    {%- if "event_id" in keys %}, e.event_name, e.organizer_id::text AS organizer_id
    {%- elif "organizer_id" in keys %}, o.organizer_name
    {%- endif %}
FROM ranked AS r JOIN sums AS s USING (currency {%- for name in keys %}, {{ name }}{% endfor %})
{%- if "event_id" in keys %}
LEFT JOIN reporting.event_summary AS e ON e.event_id = r.event_id
{%- elif "organizer_id" in keys %}
LEFT JOIN (
    SELECT organizer_id, max(organizer_name) AS organizer_name FROM reporting.event_summary
    GROUP BY organizer_id
) AS o ON o.organizer_id = r.organizer_id
{%- endif %}
WHERE r.rank > %(offset)s AND r.rank <= %(offset)s + %(limit)s
