-- The sums that are kept of organizers' days beside those of the rows they are kept of: they differ
-- where somebody edited them, or restored either table alone.
WITH days AS (
    SELECT organizer_id, business_date, currency,
           {% for metric in metrics -%}
           sum({{ metric }})::bigint AS {{ metric }}{{ "," if not loop.last }}
           {% endfor %}
    FROM reporting.{{ daily }}
    GROUP BY organizer_id, business_date, currency
), compared AS (
    SELECT business_date, organizer_id, currency, d AS published, k AS reported,
           d.organizer_id IS NULL OR k.organizer_id IS NULL
           {% for metric in metrics -%}
           OR d.{{ metric }} <> k.{{ metric }}
           {% endfor %} AS differs
    FROM days AS d
    FULL JOIN ops.organizer_days AS k USING (organizer_id, business_date, currency)
), differing AS (
    SELECT to_char(business_date, 'YYYY-MM-DD') AS partition_key, organizer_id, currency, m.metric,
           (to_jsonb(published) ->> m.metric)::bigint AS published,
           (to_jsonb(reported) ->> m.metric)::bigint AS reported
    FROM compared
    CROSS JOIN unnest(ARRAY['{{ metrics | join("', '") }}']) AS m (metric)
    WHERE differs
)
SELECT (SELECT count(*) * {{ metrics | length }} FROM compared) AS cells,
       (SELECT count(DISTINCT business_date) FROM compared) AS partitions,
       coalesce(
           (SELECT jsonb_agg(to_jsonb(d) ORDER BY partition_key, organizer_id, currency, metric)
            FROM differing AS d
            WHERE published IS DISTINCT FROM reported),
           '[]'
       ) AS differences
