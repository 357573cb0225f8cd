-- The web tier adds to today's counts.
INSERT INTO page_views AS v (event_id, view_date, channel, page_views, visitors, updated_at)
SELECT event_id, %(today)s, channel, page_views, visitors, %(now)s
FROM unnest(%(events)s::bigint[], %(channels)s::text[], %(page_views)s::bigint[], %(visitors)s::bigint[])
     AS n (event_id, channel, page_views, visitors)
ON CONFLICT (event_id, view_date, channel) DO UPDATE
SET page_views = v.page_views + excluded.page_views, visitors = v.visitors + excluded.visitors, updated_at = excluded.updated_at
