-- Check-ins as the gates' uploads arrived at the platform would be, by the instant of the scan.
SELECT row_number() OVER () AS check_in_id, * FROM (
    SELECT * FROM read_parquet(getvariable('staged')) ORDER BY scanned_at, ticket_id)
