-- Every metric that can be added up, by currency, of a range of days and of the one before it.
SELECT currency, business_date >= %(first)s AS is_current,
       count(DISTINCT organizer_id) FILTER (WHERE orders > 0) AS organizers_with_sales
    {%- for metric in metrics %}, sum({{ metric }})::bigint AS {{ metric }}{% endfor %}
FROM ops.organizer_days
WHERE business_date BETWEEN %(before)s AND %(last)s
GROUP BY currency, is_current
ORDER BY currency
