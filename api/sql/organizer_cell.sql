-- One published value of an event with the measures it is made of: summed over what the caller left
-- open of the grain. No row: the period was published without one.
SELECT organizer_id, count(*) AS rows, sum({{ metric }})::bigint AS {{ metric }}
    {%- for name in terms %}, sum({{ name }})::bigint AS term_{{ name }}{% endfor %}
FROM reporting.{{ dataset }}
WHERE event_id = %(event)s AND currency = %(currency)s
    {%- if column %} AND {{ column }} = %(start)s{% endif %}
    {%- for name in scope %} AND {{ name }} = %({{ name }})s{% endfor %}
GROUP BY organizer_id
