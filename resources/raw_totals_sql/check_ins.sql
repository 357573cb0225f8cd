-- What the staged scans say of their days.
SELECT business_date, organizer_id, currency,
       count(*) AS rows,
       epoch_us(max(recorded_at)) AS recorded_until,
       count(*) FILTER (WHERE NOT is_test AND kind = 'admission') AS check_ins
FROM staged AS s
LEFT JOIN known_events AS e USING (event_id)
LEFT JOIN known_ticket_types AS k USING (ticket_type_id)
GROUP BY ALL
