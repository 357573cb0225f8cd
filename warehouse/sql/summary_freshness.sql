-- The summary over all days: the last day up to which a complete version of every day was there
-- when it was made.
WITH summary AS (
    SELECT p.dataset, p.input_version, p.source_watermark, u.published_at
    FROM ops.partitions AS p JOIN ops.publications AS u USING (publication_id)
    WHERE p.dataset = %(dataset)s
), days AS (
    SELECT partition_key::date AS day,
           bool_or(is_complete AND publication_id <= (SELECT input_version FROM summary)) AS included,
           lag(partition_key::date) OVER (ORDER BY partition_key) AS previous
    FROM ops.publications
    WHERE dataset = %(daily)s
    GROUP BY partition_key
), broken AS (
    SELECT min(CASE WHEN previous + 1 < day THEN previous + 1 ELSE day END) AS at
    FROM days
    WHERE NOT included OR previous + 1 < day
)
SELECT s.dataset, (SELECT max(day) FROM days) AS newest_partition, s.published_at, s.source_watermark,
       (SELECT max(day) FROM days, broken WHERE broken.at IS NULL OR day < broken.at)
           AS complete_through
FROM summary AS s
