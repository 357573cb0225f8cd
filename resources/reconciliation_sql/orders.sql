-- Orders: what was placed, completed, cancelled and expired on each reporting day.
WITH days (business_date, starts_at, ends_at) AS NOT MATERIALIZED (:days),
o AS NOT MATERIALIZED (
    SELECT *, order_id::text <> ALL (:quarantined) AS is_used,
           order_id::text <> ALL (:quarantined) AND NOT is_test AS is_real
    FROM orders
),
placed AS (
    SELECT d.business_date, o.event_id, o.currency, count(*) AS row_count,
           max(o.updated_at) FILTER (WHERE is_used) AS recorded,
           count(*) FILTER (WHERE is_real) AS requests
    FROM days d JOIN o ON o.placed_at >= d.starts_at AND o.placed_at < d.ends_at
    WHERE o.placed_at >= :range_start AND o.placed_at < :range_end
    GROUP BY 1, 2, 3
),
completed AS (
    -- A row is counted once for a day on which several things happened to it.
    SELECT d.business_date, o.event_id, o.currency,
           count(*) FILTER (
               WHERE (o.placed_at >= d.starts_at AND o.placed_at < d.ends_at) IS NOT TRUE
           ) AS row_count,
           max(o.updated_at) FILTER (WHERE is_used) AS recorded,
           count(*) FILTER (WHERE is_real) AS orders,
           count(*) FILTER (WHERE is_real AND total_minor = 0) AS free_orders,
           count(*) FILTER (WHERE is_used AND is_test) AS test_orders,
           sum(discount_minor) FILTER (WHERE is_real) AS discounts,
           sum(buyer_fees_minor) FILTER (WHERE is_real) AS buyer_fees,
           sum(tax_minor) FILTER (WHERE is_real) AS tax,
           sum(platform_fee_minor) FILTER (WHERE is_real) AS platform_fees
    FROM days d JOIN o ON o.completed_at >= d.starts_at AND o.completed_at < d.ends_at
    WHERE o.completed_at >= :range_start AND o.completed_at < :range_end
    GROUP BY 1, 2, 3
),
cancelled AS (
    SELECT d.business_date, o.event_id, o.currency,
           count(*) FILTER (
               WHERE (o.placed_at >= d.starts_at AND o.placed_at < d.ends_at) IS NOT TRUE
                 AND (o.completed_at >= d.starts_at AND o.completed_at < d.ends_at) IS NOT TRUE
           ) AS row_count,
           max(o.updated_at) FILTER (WHERE is_used) AS recorded,
           count(*) FILTER (WHERE is_real) AS orders_cancelled
    FROM days d JOIN o ON o.cancelled_at >= d.starts_at AND o.cancelled_at < d.ends_at
    WHERE o.cancelled_at >= :range_start AND o.cancelled_at < :range_end
    GROUP BY 1, 2, 3
),
expired AS (
    SELECT d.business_date, o.event_id, o.currency,
           count(*) FILTER (
               WHERE (o.placed_at >= d.starts_at AND o.placed_at < d.ends_at) IS NOT TRUE
                 AND (o.completed_at >= d.starts_at AND o.completed_at < d.ends_at) IS NOT TRUE
                 AND (o.cancelled_at >= d.starts_at AND o.cancelled_at < d.ends_at) IS NOT TRUE
           ) AS row_count,
           max(o.updated_at) FILTER (WHERE is_used) AS recorded,
           count(*) FILTER (WHERE is_real) AS orders_expired
    FROM days d JOIN o ON o.expired_at >= d.starts_at AND o.expired_at < d.ends_at
    WHERE o.expired_at >= :range_start AND o.expired_at < :range_end
    GROUP BY 1, 2, 3
),
totals AS (
    SELECT business_date, event_id, currency, 'requests' AS measure, requests AS value FROM placed
    UNION ALL
    SELECT business_date, event_id, currency, measure, value
    FROM completed, LATERAL (VALUES
        ('orders', orders), ('free_orders', free_orders), ('test_orders', test_orders),
        ('discounts', discounts), ('buyer_fees', buyer_fees), ('tax', tax),
        ('platform_fees', platform_fees)) AS m (measure, value)
    UNION ALL
    SELECT business_date, event_id, currency, 'orders_cancelled', orders_cancelled FROM cancelled
    UNION ALL
    SELECT business_date, event_id, currency, 'orders_expired', orders_expired FROM expired
),
touched AS (
    SELECT business_date, row_count, recorded FROM placed
    UNION ALL
    SELECT business_date, row_count, recorded FROM completed
    UNION ALL
    SELECT business_date, row_count, recorded FROM cancelled
    UNION ALL
    SELECT business_date, row_count, recorded FROM expired
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
