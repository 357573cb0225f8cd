-- An organizer's days of each currency: of every column its values as one text, in one order for all,
-- and of every metric its sum. Readers that pass values on need not take each from the wire.
SELECT currency, string_agg(business_date::text, ',') AS days
    {%- for metric in metrics %}, string_agg({{ metric }}::text, ','){% endfor %}
    {%- for metric in metrics %}, sum({{ metric }})::bigint{% endfor %}
FROM ops.organizer_days
WHERE organizer_id = %(organizer)s AND business_date BETWEEN %(first)s AND %(last)s
GROUP BY currency
ORDER BY currency
