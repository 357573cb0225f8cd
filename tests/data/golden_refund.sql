-- 2 February 2024: one of the two tickets is cancelled, 4,000.00 refunded and 1,000.00 retained.
UPDATE tickets
SET status = 'cancelled', cancelled_at = '2024-02-02 09:00Z', unsold_minor = 500000,
    retained_fee_minor = 100000, updated_at = '2024-02-02 09:00Z'
WHERE ticket_id = 2;
INSERT INTO refunds (refund_id, order_id, payment_id, event_id, provider, instrument, status,
                     currency, amount_minor, retained_fee_minor, requested_at, succeeded_at,
                     updated_at) VALUES
    (1, 1, 1, 1, 'MPESA', 'mpesa', 'succeeded', 'KES', 400000, 100000,
     '2024-02-02 09:00Z', '2024-02-02 09:05Z', '2024-02-02 09:05Z');
