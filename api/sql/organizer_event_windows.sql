-- Metrics of some events, of each over days of its own, by currency.
SELECT d.event_id, d.currency
    {%- for metric in metrics %}, sum(d.{{ metric }})::bigint AS {{ metric }}{% endfor %}
FROM unnest(%(events)s::bigint[], %(firsts)s::date[], %(lasts)s::date[]) AS w (event_id, first, last)
JOIN reporting.daily_metrics AS d
    ON d.event_id = w.event_id AND d.business_date BETWEEN w.first AND w.last
GROUP BY d.event_id, d.currency
ORDER BY d.event_id, d.currency
