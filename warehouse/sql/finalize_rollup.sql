-- Complete weeks or months become final once each of their days is.
UPDATE ops.partitions AS p SET final_at = clock_timestamp()
WHERE p.dataset = %(dataset)s AND p.is_complete AND p.final_at IS NULL
  AND NOT EXISTS (
      SELECT FROM ops.audits AS a
      WHERE (a.dataset, a.partition_key) = (p.dataset, p.partition_key) AND NOT a.passed
  )
  AND NOT EXISTS (
      SELECT FROM generate_series(
          p.partition_key::timestamp,
          p.partition_key::timestamp + %(length)s::interval - interval '1 day', interval '1 day'
      ) AS day
      LEFT JOIN ops.partitions AS d
          ON d.dataset = %(days)s AND d.partition_key = to_char(day, 'YYYY-MM-DD')
      WHERE d.final_at IS NULL
  )
