-- Refunds happen long after the orders they belong to: numbered and stored in the order they were asked for.
SELECT row_number() OVER () AS refund_id, * FROM (
    SELECT * FROM read_parquet(getvariable('staged')) ORDER BY requested_at, order_id, succeeded_at)
