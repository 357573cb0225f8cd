-- Weeks or months as the sums of their days.
INSERT INTO reporting.{{ dataset }} ({{ columns }})
SELECT date_trunc('{{ unit }}', business_date)::date AS start, organizer_id, event_id, currency
    {%- if unit == 'week' %}, to_char(business_date, 'IYYY"-W"IW') AS label{% endif %}
    {%- for metric in metrics %}, sum({{ metric }}){% endfor %}
FROM reporting.daily_metrics
GROUP BY start, organizer_id, event_id, currency{% if unit == 'week' %}, label{% endif %}
ORDER BY start, organizer_id, event_id
