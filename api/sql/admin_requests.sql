-- Purchase requests and what became of them, by period, whatever their currency: these are counts.
SELECT {{ column }} AS period
    {%- for metric in metrics %}, sum({{ metric }})::bigint AS {{ metric }}{% endfor %}
FROM {{ table }}
WHERE {{ column }} BETWEEN %(first)s AND %(last)s
    {%- for name in filters %} AND {{ name }} = %({{ name }}_asked)s{% endfor %}
GROUP BY {{ column }}
