-- Every event with its published days summed; buyers are counted anew from the ledger.
WITH buyers AS NOT MATERIALIZED (
    SELECT event_id, {{ distinct_metrics }}
    FROM movements
    WHERE kind = 'order_completed'
    GROUP BY ALL
)
SELECT e.event_id, e.organizer_id, o.name AS organizer_name, e.name AS event_name, e.category,
       e.venue, e.time_zone AS event_time_zone, e.currency, e.status, e.capacity, e.on_sale_at,
       e.starts_at, e.ends_at,
       min(d.business_date) FILTER (WHERE d.orders > 0) AS first_sale_date,
       max(d.business_date) FILTER (WHERE d.orders > 0) AS last_sale_date,
       {{ rolled_up_metrics }}
FROM lake.raw_events AS e
JOIN lake.raw_organizers AS o USING (organizer_id)
LEFT JOIN daily_metrics AS d ON d.event_id = e.event_id AND d.currency = e.currency
LEFT JOIN buyers AS b ON b.event_id = e.event_id
GROUP BY ALL
ORDER BY {{ grain }}
