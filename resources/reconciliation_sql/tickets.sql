-- Tickets, add-ons and donations: what was sold and what was cancelled on each reporting day.
WITH days (business_date, starts_at, ends_at) AS NOT MATERIALIZED (:days),
t AS NOT MATERIALIZED (
    SELECT *, ticket_id::text <> ALL (:quarantined) AS is_used,
           ticket_id::text <> ALL (:quarantined) AND NOT is_test AS is_real
    FROM tickets
),
issued AS (
    SELECT d.business_date, t.event_id, t.ticket_type_id, t.currency, count(*) AS row_count,
           max(t.updated_at) FILTER (WHERE is_used) AS recorded,
           count(*) FILTER (WHERE is_real AND NOT is_comp AND charged_minor > 0) AS paid,
           count(*) FILTER (WHERE is_real AND NOT is_comp AND charged_minor = 0) AS free,
           count(*) FILTER (WHERE is_real AND is_comp) AS comp,
           sum(list_price_minor) FILTER (WHERE is_real) AS listed,
           sum(charged_minor) FILTER (WHERE is_real) AS charged
    FROM days d JOIN t ON t.issued_at >= d.starts_at AND t.issued_at < d.ends_at
    WHERE t.issued_at >= :range_start AND t.issued_at < :range_end
    GROUP BY 1, 2, 3, 4
),
cancelled AS (
    -- A ticket sold and cancelled on one day is one row of that day.
    SELECT d.business_date, t.event_id, t.ticket_type_id, t.currency,
           count(*) FILTER (
               WHERE (t.issued_at >= d.starts_at AND t.issued_at < d.ends_at) IS NOT TRUE
           ) AS row_count,
           max(t.updated_at) FILTER (WHERE is_used) AS recorded,
           count(*) FILTER (WHERE is_real) AS cancelled,
           sum(unsold_minor) FILTER (WHERE is_real) AS unsold,
           sum(retained_fee_minor) FILTER (WHERE is_real) AS retained
    FROM days d JOIN t ON t.cancelled_at >= d.starts_at AND t.cancelled_at < d.ends_at
    WHERE t.cancelled_at >= :range_start AND t.cancelled_at < :range_end
    GROUP BY 1, 2, 3, 4
),
totals AS (
    SELECT s.business_date, s.event_id, s.currency, m.measure, m.value
    FROM issued s JOIN ticket_types y ON y.ticket_type_id = s.ticket_type_id, LATERAL (VALUES
        ('tickets_paid', CASE WHEN y.kind = 'admission' THEN paid END),
        ('tickets_free', CASE WHEN y.kind = 'admission' THEN free END),
        ('tickets_comp', CASE WHEN y.kind = 'admission' THEN comp END),
        ('face_value', listed), ('discounts', listed - charged)) AS m (measure, value)
    UNION ALL
    SELECT c.business_date, c.event_id, c.currency, m.measure, m.value
    FROM cancelled c JOIN ticket_types y ON y.ticket_type_id = c.ticket_type_id, LATERAL (VALUES
        ('tickets_cancelled', CASE WHEN y.kind = 'admission' THEN cancelled END),
        ('sale_reversals', unsold - retained)) AS m (measure, value)
),
touched AS (
    SELECT business_date, row_count, recorded FROM issued
    UNION ALL
    SELECT business_date, row_count, recorded FROM cancelled
)
SELECT t.business_date, e.organizer_id, t.currency, t.measure, sum(t.value)::bigint AS value
FROM totals t JOIN events e ON e.event_id = t.event_id
GROUP BY 1, 2, 3, 4
UNION ALL
SELECT business_date, NULL, NULL, 'rows', sum(row_count)::bigint FROM touched GROUP BY 1
UNION ALL
SELECT business_date, NULL, NULL, 'recorded_until',
       (extract(epoch FROM max(recorded)) * 1000000)::bigint
FROM touched GROUP BY 1
