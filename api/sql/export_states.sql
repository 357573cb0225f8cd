-- Export jobs by state: how many, and how long ago the oldest of each was asked for.
SELECT state, count(*) AS jobs,
       extract(epoch FROM clock_timestamp() - min(created_at))::float AS oldest_seconds
FROM ops.export_jobs
GROUP BY state
