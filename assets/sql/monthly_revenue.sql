-- The published days of each month, summed; buyers are counted anew from the ledger.
WITH buyers AS NOT MATERIALIZED (
    SELECT CAST(date_trunc('month', business_date) AS DATE) AS month_start, organizer_id, event_id,
           currency, {{ distinct_metrics }}
    FROM movements
    WHERE business_date BETWEEN $first AND $last AND kind = 'order_completed'
    GROUP BY ALL
)
SELECT month_start, organizer_id, event_id, currency,
       {{ rolled_up_metrics }}
FROM (
    SELECT *, CAST(date_trunc('month', business_date) AS DATE) AS month_start
    FROM daily_metrics
)
LEFT JOIN buyers AS b USING (month_start, organizer_id, event_id, currency)
GROUP BY ALL
ORDER BY {{ grain }}
