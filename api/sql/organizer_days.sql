-- Metrics of an organizer by day and currency, in order: they are kept summed, so this adds nothing up.
SELECT business_date, currency{% for metric in metrics %}, {{ metric }}{% endfor %}
FROM ops.organizer_days
WHERE organizer_id = %(organizer)s AND business_date BETWEEN %(first)s AND %(last)s
ORDER BY business_date, currency
