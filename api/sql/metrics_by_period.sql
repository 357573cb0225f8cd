-- Metrics of a finished table by period and currency: of everything the caller sees, or of the
-- named organizer or event.
SELECT {{ column }} AS period, currency
    {%- for metric in metrics %}, sum({{ metric }})::bigint AS {{ metric }}{% endfor %}
FROM reporting.{{ dataset }}
WHERE {{ column }} BETWEEN %(first)s AND %(last)s
    {%- for name in filters %} AND {{ name }} = %({{ name }})s{% endfor %}
GROUP BY {{ column }}, currency
