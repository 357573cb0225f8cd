-- The published days of each week, summed; buyers are counted anew from the ledger.
WITH buyers AS NOT MATERIALIZED (
    SELECT CAST(date_trunc('week', business_date) AS DATE) AS week_start, organizer_id, event_id,
           currency, {{ distinct_metrics }}
    FROM movements
    WHERE business_date BETWEEN $first AND $last AND kind = 'order_completed'
    GROUP BY ALL
)
SELECT week_start, organizer_id, event_id, currency,
       strftime(week_start, '%G-W%V') AS iso_week,
       {{ rolled_up_metrics }}
FROM (
    SELECT *, CAST(date_trunc('week', business_date) AS DATE) AS week_start
    FROM daily_metrics
)
LEFT JOIN buyers AS b USING (week_start, organizer_id, event_id, currency)
GROUP BY ALL
ORDER BY {{ grain }}
