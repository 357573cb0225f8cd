-- The buyers first seen in this run of orders, made as they placed their first order.
SELECT customer_id, person_name('customer', customer_id) AS name, customer_email(customer_id) AS email,
       CASE WHEN u('phone given', customer_id) < 0.1 THEN NULL ELSE phone_number('customer', customer_id) END AS phone,
       placed_at AS created_at, edited_at(placed_at, 0.05, customer_id) AS updated_at
FROM carts
WHERE is_new_customer
ORDER BY customer_id
