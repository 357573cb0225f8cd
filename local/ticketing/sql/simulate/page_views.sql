-- Visits behind this tick's checkouts.
SELECT event_id, channel, sum(2 + 2 * between_by(3, 14, u('live views', checkout_id)))::BIGINT AS page_views,
       sum(1 + between_by(3, 14, u('live views', checkout_id)))::BIGINT AS visitors
FROM checkouts
GROUP BY event_id, channel
ORDER BY event_id, channel
