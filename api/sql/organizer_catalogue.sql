-- How many events an organizer has, by status and currency, and how many of them are to come.
SELECT status, currency, max(organizer_name) AS organizer_name, count(*) AS events,
       count(*) FILTER (WHERE starts_at >= %(since)s AND status IN ('on_sale', 'sold_out'))
           AS upcoming
FROM reporting.event_summary
WHERE organizer_id = %(organizer)s
GROUP BY status, currency
ORDER BY status, currency
