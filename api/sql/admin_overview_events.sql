-- Events by state, and how many of them have not begun.
SELECT status, count(*) AS events, count(DISTINCT organizer_id) AS organizers,
       count(*) FILTER (WHERE starts_at > now()) AS upcoming
FROM reporting.event_summary
GROUP BY status
ORDER BY status
