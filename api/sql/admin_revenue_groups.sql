-- The page of groups (organizers, events or payment methods) with the greatest leading metric of the
-- whole range within a currency: of the periods and of every metric the values as one text, in one
-- order for all. Readers that pass values on need not take each from the wire.
WITH sums AS (
    SELECT {{ period }} AS period, currency {%- for name in keys %}, {{ name }}{% endfor %}
        {%- for metric in metrics %}, sum({{ metric }}) AS {{ metric }}{% endfor %}
    FROM {{ table }}
    WHERE {{ column }} BETWEEN %(first)s AND %(last)s
        {%- for name in filters %} AND {{ name }} = %({{ name }}_asked)s{% endfor %}
    GROUP BY {{ period }}, currency {%- for name in keys %}, {{ name }}{% endfor %}
),
ranked AS (
    SELECT currency {%- for name in keys %}, {{ name }}{% endfor %}, count(*) OVER () AS groups,
        row_number() OVER (
            ORDER BY currency, sum({{ leading }}) DESC {%- for name in keys %}, {{ name }}{% endfor %}
        ) AS rank
    FROM sums GROUP BY currency {%- for name in keys %}, {{ name }}{% endfor %}
),
page AS (
    SELECT r.rank, r.groups, currency {%- for name in keys %}, {{ name }}{% endfor %},
        string_agg(s.period::text, ',') AS periods
        {%- for metric in metrics %}, string_agg(s.{{ metric }}::text, ',') AS {{ metric }}{% endfor %}
    FROM ranked AS r JOIN sums AS s USING (currency {%- for name in keys %}, {{ name }}{% endfor %})
    WHERE r.rank > %(offset)s AND r.rank <= %(offset)s + %(limit)s
    GROUP BY r.rank, r.groups, currency {%- for name in keys %}, {{ name }}{% endfor %}
)
SELECT p.rank, p.groups, p.currency
    {%- for name in keys %}, p.{{ name }}{% endfor %}
    {%- if "event_id" in keys %}, e.event_name, e.organizer_id
    {%- elif "organizer_id" in keys %}, o.organizer_name
    {%- endif %}, p.periods
    {%- for metric in metrics %}, p.{{ metric }}{% endfor %}
FROM page AS p
{%- if "event_id" in keys %}
LEFT JOIN reporting.event_summary AS e ON e.event_id = p.event_id
{%- elif "organizer_id" in keys %}
LEFT JOIN (
    SELECT organizer_id, max(organizer_name) AS organizer_name FROM reporting.event_summary
    GROUP BY organizer_id
) AS o ON o.organizer_id = p.organizer_id
{%- endif %}
ORDER BY p.rank
