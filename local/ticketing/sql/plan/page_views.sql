-- Traffic follows demand: several visitors for each order, more than one page for each visitor. Counted
-- at two in the night after the day; today's count is as of now; a hundredth was recounted days later.
WITH traffic AS (
    SELECT g.event_id, g.idx, g.orders, d.ends_us, d.view_date, c.channel, c.share, c.code,
           g.event_id * 1000000 + g.idx * 10 + c.code AS k
    FROM grid AS g
    JOIN day AS d USING (idx)
    CROSS JOIN (VALUES ('web', 0.55, 1), ('ios', 0.15, 2), ('android', 0.30, 3)) AS c (channel, share, code)
), counted AS (
    SELECT *, between_by(0, 12, u('visitors idle', k))
              + ceil(orders * share * (9.0 + 14.0 * u('visitors', k)))::BIGINT AS visitors
    FROM traffic
)
SELECT event_id, view_date, channel, visitors + floor(visitors * (0.6 + 1.6 * u('page views', k)))::BIGINT AS page_views, visitors,
       least(getvariable('until'), ends_us + hours(2)
             + CASE WHEN u('page views recounted', k) < 0.01 THEN hours(24 * (2 + 10 * u('page views recount lag', k))) ELSE 0 END) AS updated_at
FROM counted
ORDER BY idx, event_id, code
