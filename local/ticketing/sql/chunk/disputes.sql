-- Chargebacks of card payments: withdrawn weeks after the payment, two fifths won back.
WITH disputed AS (
    SELECT p.*, confirmed_at + hours(24 * (4 + 50 * u('dispute lag', payment_id))) AS withdrawn_at
    FROM payments AS p ANTI JOIN cancellations USING (order_id)
    WHERE p.status = 'confirmed' AND p.instrument IN ('visa', 'mastercard') AND u('dispute', order_id) < 0.008
), settled AS (
    SELECT *, CASE WHEN u('dispute won', payment_id) < 0.4
                    AND withdrawn_at + hours(24 * (8 + 30 * u('dispute length', payment_id))) <= getvariable('until')
                   THEN withdrawn_at + hours(24 * (8 + 30 * u('dispute length', payment_id))) END AS reinstated_at
    FROM disputed
)
SELECT payment_id, order_id, event_id, provider, instrument,
       CASE WHEN reinstated_at IS NULL THEN 'withdrawn' ELSE 'reinstated' END AS status, currency, amount_minor,
       poster_price(1950.0, currency) AS fee_minor, is_test, withdrawn_at, reinstated_at,
       edited_at(greatest(withdrawn_at, reinstated_at), 0.02, payment_id) AS updated_at
FROM settled
WHERE withdrawn_at <= getvariable('until')
