-- What every event is, and the sums of its days.
INSERT INTO reporting.event_summary ({{ columns }})
SELECT event_id, organizer_id, 'Organizer ' || organizer_id, 'Event ' || event_id, 'concert',
       'Nairobi', 'Africa/Nairobi', currency, 'on_sale', 20000, min(business_date),
       max(business_date) + (event_id % 60)::int, max(business_date) + (event_id % 60)::int + 1,
       min(business_date), max(business_date)
    {%- for metric in metrics %}, sum({{ metric }}){% endfor %}
FROM reporting.daily_metrics
GROUP BY event_id, organizer_id, currency
ORDER BY event_id
