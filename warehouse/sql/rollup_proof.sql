-- The sums of the published days beside each rollup, by event, where every day is published and the
-- rollup has followed the newest of them.
WITH periods AS (
    SELECT p.partition_key::date AS starts, p.input_version, d.days, d.newest
    FROM ops.partitions AS p
    CROSS JOIN LATERAL (
        SELECT count(*) AS days, max(publication_id) AS newest
        FROM ops.partitions
        WHERE dataset = '{{ daily }}' AND partition_key >= p.partition_key
          AND partition_key
              < to_char(p.partition_key::timestamp + interval '{{ length }}', 'YYYY-MM-DD')
    ) AS d
    WHERE p.dataset = '{{ dataset }}'
      AND (p.partition_key::timestamp + interval '{{ length }}')::date
          = p.partition_key::date + d.days::integer
), followed AS (
    SELECT starts FROM periods WHERE newest <= input_version
), days AS (
    SELECT date_trunc('{{ period }}', business_date)::date AS starts, event_id, organizer_id,
           currency,
           {% for metric in metrics -%}
           sum({{ metric }})::bigint AS {{ metric }}{{ "," if not loop.last }}
           {% endfor %}
    FROM reporting.{{ daily }}
    WHERE date_trunc('{{ period }}', business_date)::date IN (SELECT starts FROM followed)
    GROUP BY 1, 2, 3, 4
), rolled_up AS (
    SELECT {{ column }} AS starts, event_id, organizer_id, currency, {{ metrics | join(", ") }}
    FROM reporting.{{ dataset }}
    WHERE {{ column }} IN (SELECT starts FROM followed)
), compared AS (
    SELECT starts, event_id, currency, d AS published, r AS reported,
           {% for metric in metrics -%}
           coalesce(d.{{ metric }}, 0) <> coalesce(r.{{ metric }}, 0){{ " OR" if not loop.last }}
           {% endfor %} AS differs
    FROM days AS d
    FULL JOIN rolled_up AS r USING (starts, event_id, organizer_id, currency)
), differing AS (
    SELECT to_char(starts, 'YYYY-MM-DD') AS partition_key, event_id, currency, m.metric,
           coalesce((to_jsonb(published) ->> m.metric)::bigint, 0) AS published,
           coalesce((to_jsonb(reported) ->> m.metric)::bigint, 0) AS reported
    FROM compared
    CROSS JOIN unnest(ARRAY['{{ metrics | join("', '") }}']) AS m (metric)
    WHERE differs
)
SELECT (SELECT count(*) * {{ metrics | length }} FROM compared) AS cells,
       (SELECT count(*) FROM followed) AS partitions,
       (SELECT count(*) FROM periods WHERE newest > input_version) AS behind,
       coalesce(
           (SELECT jsonb_agg(to_jsonb(d) ORDER BY partition_key, event_id, currency, metric)
            FROM differing AS d
            WHERE published <> reported),
           '[]'
       ) AS differences
