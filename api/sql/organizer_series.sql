-- Metrics of an organizer, or of some of their events, by period and currency.
SELECT {{ column }} AS period, currency
    {%- for metric in metrics %}, sum({{ metric }})::bigint AS {{ metric }}{% endfor %}
FROM reporting.{{ dataset }}
WHERE organizer_id = %(organizer)s AND {{ column }} BETWEEN %(first)s AND %(last)s
  AND (%(events)s::bigint[] IS NULL OR event_id = ANY (%(events)s))
GROUP BY {{ column }}, currency
