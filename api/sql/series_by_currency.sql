-- Series by currency: of the periods and of every metric the values as one text, in one order for all.
-- Readers that pass values on need not take each from the wire.
SELECT currency, string_agg(period::text, ',')
    {%- for metric in metrics %}, string_agg({{ metric }}::text, ','){% endfor %}
FROM (
    SELECT {{ column }} AS period, currency
        {%- for metric in metrics %}, {% if is_summed %}{{ metric }}{% else %}sum({{ metric }}) AS {{ metric }}{% endif %}{% endfor %}
    FROM {{ table }}
    WHERE {{ column }} BETWEEN %(first)s AND %(last)s
        {%- for name in filters %} AND {{ name }} = %({{ name }}_asked)s{% endfor %}
        {%- for name in lists %} AND {{ name }} = ANY (%({{ name }}_asked)s){% endfor %}
    {%- if not is_summed %}
    GROUP BY {{ column }}, currency
    {%- endif %}
) AS periods
GROUP BY currency
ORDER BY currency
