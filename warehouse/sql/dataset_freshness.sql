-- Per partitioned dataset: the last day up to which every partition is there and complete, and the
-- partitions that are missing between the first and the last. A first week or month that began
-- before the first reporting day never becomes complete: it is left out.
WITH first_day AS (
    SELECT min(partition_key) AS day FROM ops.partitions WHERE dataset = %(daily)s
), steps (dataset, step) AS (
    SELECT * FROM unnest(%(datasets)s::text[], %(steps)s::interval[])
), periods AS (
    SELECT p.dataset, p.partition_key::date AS starts, s.step, p.is_complete, p.publication_id,
           p.source_watermark, u.published_at,
           lag(p.partition_key::date) OVER (PARTITION BY p.dataset ORDER BY p.partition_key)
               AS previous
    FROM ops.partitions AS p
    JOIN steps AS s USING (dataset)
    JOIN ops.publications AS u USING (publication_id)
), considered AS (
    SELECT * FROM periods WHERE starts >= (SELECT day::date FROM first_day)
), broken AS (
    SELECT dataset,
           min(CASE WHEN (previous + step)::date < starts THEN (previous + step)::date
                    ELSE starts END) AS at
    FROM considered
    WHERE NOT is_complete OR (previous + step)::date < starts
    GROUP BY dataset
), missing AS (
    SELECT dataset, array_agg(to_char(gap, 'YYYY-MM-DD') ORDER BY gap) AS keys
    FROM periods, generate_series((previous + step)::timestamp, starts - step, step) AS gap
    WHERE (previous + step)::date < starts
    GROUP BY dataset
)
SELECT p.dataset, max(p.starts) AS newest_partition,
       (SELECT max((c.starts + c.step)::date - 1) FROM considered AS c
        WHERE c.dataset = p.dataset AND (max(b.at) IS NULL OR c.starts < max(b.at)))
           AS complete_through,
       max(p.published_at) AS published_at,
       (array_agg(p.source_watermark ORDER BY p.starts DESC))[1] AS source_watermark,
       coalesce(max(m.keys), '{}') AS gaps
FROM periods AS p
LEFT JOIN broken AS b USING (dataset)
LEFT JOIN missing AS m USING (dataset)
GROUP BY p.dataset
