-- The first reporting day of the platform's orders, by its index; no row when there are none.
SELECT (placed_at AT TIME ZONE %(time_zone)s)::date
FROM orders
ORDER BY placed_at
LIMIT 1
