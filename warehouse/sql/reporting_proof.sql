-- The sums and row counts of a finished table beside those its publications recorded when they made
-- it: they differ where somebody edited it.
WITH rows AS (
    SELECT {{ partition_key }} AS partition_key, *
    FROM reporting.{{ dataset }}
), reported AS (
    SELECT partition_key, currency, to_jsonb(s) - 'partition_key' - 'currency' AS sums
    FROM (
        SELECT partition_key, currency,
               {% for metric in metrics -%}
               sum({{ metric }})::bigint AS {{ metric }}{{ "," if not loop.last }}
               {% endfor %}
        FROM rows
        GROUP BY partition_key, currency
    ) AS s
    UNION ALL
    SELECT partition_key, '', jsonb_build_object('rows', count(*)) FROM rows GROUP BY partition_key
), published AS (
    SELECT p.partition_key, c.currency, c.sums
    FROM ops.partitions AS p
    JOIN ops.publications AS u USING (publication_id)
    CROSS JOIN jsonb_each(
        u.control_sums || jsonb_build_object('', jsonb_build_object('rows', u.row_count))
    ) AS c (currency, sums)
    WHERE p.dataset = '{{ dataset }}'
), compared AS (
    SELECT coalesce(r.partition_key, p.partition_key) AS partition_key,
           coalesce(r.currency, p.currency) AS currency, m.metric,
           coalesce((p.sums ->> m.metric)::bigint, 0) AS published,
           coalesce((r.sums ->> m.metric)::bigint, 0) AS reported
    FROM reported AS r
    FULL JOIN published AS p USING (partition_key, currency)
    CROSS JOIN LATERAL jsonb_object_keys(coalesce(r.sums, p.sums)) AS m (metric)
)
SELECT count(*) AS cells, count(DISTINCT partition_key) AS partitions,
       coalesce(
           jsonb_agg(to_jsonb(compared) ORDER BY partition_key, currency, metric)
               FILTER (WHERE published <> reported),
           '[]'
       ) AS differences
FROM compared
