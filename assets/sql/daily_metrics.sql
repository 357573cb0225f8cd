-- Sums over the ledger, and a row of zeros for each event that was on sale on the day.
SELECT business_date, organizer_id, event_id, currency,
       {{ metrics }}
FROM (
    FROM movements
    WHERE business_date BETWEEN $first AND $last
    UNION ALL BY NAME
    SELECT d.business_date, e.organizer_id, e.event_id, e.currency
    FROM days AS d
    JOIN lake.raw_events AS e
        ON coalesce(e.on_sale_at < d.ends_at, true)
        AND coalesce(coalesce(e.ends_at, e.starts_at) >= d.starts_at, true)
        AND coalesce(e.cancelled_at >= d.starts_at, true)
    WHERE e.status <> 'draft'
)
GROUP BY ALL
ORDER BY {{ grain }}
