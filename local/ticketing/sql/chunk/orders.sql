-- The orders as the platform stores them. An order whose every ticket is cancelled is itself cancelled
-- and keeps completed_at. E-mails are as typed; a few rows were edited long after.
WITH stated AS (
    SELECT o.*, CASE WHEN c.cancelled_lines = c.line_count THEN c.cancelled_at ELSE abandoned_at END AS cancelled_at,
           greatest(placed_at, completed_at, expired_at, abandoned_at, c.cancelled_at) AS changed_at
    FROM order_plan AS o LEFT JOIN cancellations AS c USING (order_id)
)
SELECT order_id, event_id, customer_id,
       CASE WHEN customer_id IS NULL THEN NULL
            WHEN u('email typed', order_id) < 0.04 THEN upper(customer_email(customer_id))
            WHEN u('email typed', order_id) < 0.06 THEN ' ' || customer_email(customer_id) || ' '
            ELSE customer_email(customer_id) END AS buyer_email,
       CASE WHEN customer_id IS NULL OR u('phone given', customer_id) < 0.1 THEN NULL
            WHEN u('phone typed', order_id) < 0.06 THEN replace(phone_number('customer', customer_id), '+', '00')
            ELSE phone_number('customer', customer_id) END AS buyer_phone,
       CASE WHEN cancelled_at IS NOT NULL THEN 'cancelled' WHEN completed_at IS NOT NULL THEN 'completed'
            WHEN expired_at IS NOT NULL THEN 'expired' ELSE 'pending' END AS status,
       channel, currency, discount_minor, buyer_fees_minor, tax_minor, total_minor, platform_fee_minor, is_test,
       placed_at, completed_at, cancelled_at, expired_at, edited_at(changed_at, 0.003, order_id) AS updated_at
FROM stated
ORDER BY order_id
