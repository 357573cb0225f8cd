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
    SELECT starts, event_id, organizer_id, currency,
           to_jsonb(s) - 'starts' - 'event_id' - 'organizer_id' - 'currency' AS sums
    FROM (
        SELECT date_trunc('{{ period }}', business_date)::date AS starts, event_id, organizer_id,
               currency,
               {% for metric in metrics -%}
               sum({{ metric }})::bigint AS {{ metric }}{{ "," if not loop.last }}
               {% endfor %}
        FROM reporting.{{ daily }}
        GROUP BY 1, 2, 3, 4
    ) AS s
    WHERE starts IN (SELECT starts FROM followed)
), rolled_up AS (
    SELECT {{ column }} AS starts, event_id, organizer_id, currency, to_jsonb(r) AS sums
    FROM reporting.{{ dataset }} AS r
    WHERE {{ column }} IN (SELECT starts FROM followed)
), compared AS (
    SELECT to_char(starts, 'YYYY-MM-DD') AS partition_key, event_id, currency, m.metric,
           coalesce((d.sums ->> m.metric)::bigint, 0) AS published,
           coalesce((r.sums ->> m.metric)::bigint, 0) AS reported
    FROM days AS d
    FULL JOIN rolled_up AS r USING (starts, event_id, organizer_id, currency)
    CROSS JOIN unnest(ARRAY['{{ metrics | join("', '") }}']) AS m (metric)
)
SELECT count(*) AS cells, (SELECT count(*) FROM followed) AS partitions,
       (SELECT count(*) FROM periods WHERE newest > input_version) AS behind,
       coalesce(
           jsonb_agg(to_jsonb(compared) ORDER BY partition_key, event_id, currency, metric)
               FILTER (WHERE published <> reported),
           '[]'
       ) AS differences
FROM compared
