-- 20 February 2024: the refund is corrected to 4,500.00, so 500.00 is retained.
UPDATE refunds SET amount_minor = 450000, retained_fee_minor = 50000,
    updated_at = '2024-02-20 08:00Z' WHERE refund_id = 1;
UPDATE tickets SET retained_fee_minor = 50000, updated_at = '2024-02-20 08:00Z' WHERE ticket_id = 2;
