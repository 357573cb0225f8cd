-- The histogram of the days, replaced in one statement: buckets that are empty now are deleted.
WITH counted AS (
    SELECT * FROM unnest(
        %(business_date)s::date[], %(kind)s::text[], %(within_seconds)s::bigint[],
        %(movements)s::bigint[]
    ) AS c (business_date, kind, within_seconds, movements)
), emptied AS (
    DELETE FROM ops.lateness AS l
    WHERE l.business_date BETWEEN %(first)s AND %(last)s
      AND NOT EXISTS (
          SELECT FROM counted AS c
          WHERE (c.business_date, c.kind, c.within_seconds)
              = (l.business_date, l.kind, l.within_seconds)
      )
)
INSERT INTO ops.lateness (business_date, kind, within_seconds, movements)
SELECT business_date, kind, within_seconds, movements FROM counted
ON CONFLICT (business_date, kind, within_seconds) DO UPDATE SET movements = excluded.movements
