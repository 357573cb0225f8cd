-- Files that only expired jobs use.
SELECT DISTINCT e.file_key FROM ops.export_jobs AS e
WHERE e.state = 'expired' AND e.file_key IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM ops.export_jobs AS s WHERE s.state = 'succeeded' AND s.file_key = e.file_key
  )
ORDER BY e.file_key LIMIT %(limit)s
