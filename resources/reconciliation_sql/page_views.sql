-- Views and visitors of event pages on each reporting day, in the currency of their event.
WITH days (business_date, starts_at, ends_at) AS NOT MATERIALIZED (:days),
viewed AS (
    SELECT v.view_date AS business_date, v.event_id, v.updated_at, v.page_views, v.visitors,
           concat_ws('/', v.event_id, v.view_date, v.channel) <> ALL (:quarantined) AS is_used
    FROM days d JOIN page_views v ON v.view_date = d.business_date
)
SELECT v.business_date, e.organizer_id, e.currency, m.measure, sum(m.value)::bigint AS value
FROM viewed v JOIN events e ON e.event_id = v.event_id, LATERAL (VALUES
    ('page_views', v.page_views), ('visitors', v.visitors)) AS m (measure, value)
WHERE v.is_used
GROUP BY 1, 2, 3, 4
UNION ALL
SELECT business_date, NULL, NULL, 'rows', count(*) FROM viewed GROUP BY 1
UNION ALL
SELECT business_date, NULL, NULL, 'recorded_until',
       (extract(epoch FROM max(updated_at) FILTER (WHERE is_used)) * 1000000)::bigint
FROM viewed GROUP BY 1
