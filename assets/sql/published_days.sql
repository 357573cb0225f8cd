-- What the published days of each period add up to, in Postgres.
SELECT {{ period }} AS period, event_id, currency,
       {% for metric in metrics -%}
       sum({{ metric }})::bigint AS {{ metric }}{{ "," if not loop.last }}
       {% endfor %}
FROM reporting.daily_metrics
WHERE business_date BETWEEN '{{ first }}' AND '{{ last }}'
GROUP BY 1, 2, 3
