SELECT event_id, view_date, channel, page_views, visitors, updated_at AS recorded_at
FROM page_views
WHERE view_date BETWEEN :first_day AND :last_day
