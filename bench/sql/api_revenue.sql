-- An organizer's revenue by day, which every server's answer is compared with.
SELECT business_date{% for metric in metrics %}, sum({{ metric }})::bigint{% endfor %}
FROM reporting.daily_metrics
WHERE organizer_id = %(organizer)s AND business_date BETWEEN %(first)s AND %(last)s
GROUP BY business_date
