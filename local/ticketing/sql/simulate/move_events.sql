-- Events open for sale and end by the clock.
UPDATE events
SET status = CASE WHEN ends_at <= %(now)s THEN 'completed' ELSE 'on_sale' END, updated_at = %(now)s
WHERE (status = 'on_sale' AND ends_at <= %(now)s)
   OR (status = 'draft' AND on_sale_at <= %(now)s AND ends_at > %(now)s)
