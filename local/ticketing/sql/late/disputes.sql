-- Disputes in the order the money was withdrawn.
SELECT row_number() OVER () AS dispute_id, * FROM (
    SELECT * FROM read_parquet(getvariable('staged')) ORDER BY withdrawn_at, payment_id)
