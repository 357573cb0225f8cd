-- In each currency the organizers, or events, with the greatest gross revenue of some days.
WITH sums AS (
    SELECT {{ key }}, currency
        {%- for metric in metrics %}, sum({{ metric }})::bigint AS {{ metric }}{% endfor %}
    FROM {{ table }}
    WHERE business_date BETWEEN %(first)s AND %(last)s
    GROUP BY {{ key }}, currency
    HAVING sum(gross_revenue) > 0
),
ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY currency ORDER BY gross_revenue DESC, {{ key }}
    ) AS rank
    FROM sums
)
SELECT r.currency, r.rank, r.{{ key }}, n.name
    {%- for metric in metrics %}, r.{{ metric }}{% endfor %}
FROM ranked AS r
LEFT JOIN (
    SELECT {{ key }}, max({{ label }}) AS name FROM reporting.event_summary GROUP BY {{ key }}
) AS n ON n.{{ key }} = r.{{ key }}
WHERE r.rank <= %(leaders)s
ORDER BY r.currency, r.rank
