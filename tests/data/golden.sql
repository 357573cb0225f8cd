-- The golden vector: one order of two tickets, half of it cancelled and refunded three weeks later.
INSERT INTO organizers VALUES (1, 'Nairobi Nights', 'KE', '2023-12-01Z', '2023-12-01Z');
INSERT INTO events VALUES
    (1, 1, 'New Year Jazz', 'concert', 'Uhuru Gardens', 'Africa/Nairobi', 'KES', 500,
     '2024-01-01Z', '2024-03-01 17:00Z', '2024-03-01 21:00Z', 'on_sale', NULL,
     '2023-12-01Z', '2023-12-01Z');
INSERT INTO ticket_types VALUES
    (1, 1, 'Regular', 'admission', 500000, 'KES', 500, '2023-12-01Z');
INSERT INTO orders (order_id, event_id, buyer_email, status, channel, currency, total_minor,
                    placed_at, completed_at, updated_at) VALUES
    (1, 1, ' Amina@Example.org ', 'completed', 'web', 'KES', 1000000,
     '2024-01-10 22:28Z', '2024-01-10 22:30Z', '2024-01-10 22:30Z');
INSERT INTO tickets (ticket_id, order_id, event_id, ticket_type_id, currency, list_price_minor,
                     charged_minor, status, issued_at, updated_at) VALUES
    (1, 1, 1, 1, 'KES', 500000, 500000, 'issued', '2024-01-10 22:30Z', '2024-01-10 22:30Z'),
    (2, 1, 1, 1, 'KES', 500000, 500000, 'issued', '2024-01-10 22:30Z', '2024-01-10 22:30Z');
INSERT INTO payments (payment_id, order_id, event_id, provider, instrument, status, currency,
                      amount_minor, created_at, confirmed_at, updated_at) VALUES
    (1, 1, 1, 'MPESA', 'mpesa', 'confirmed', 'KES', 1000000,
     '2024-01-10 22:29Z', '2024-01-10 22:30Z', '2024-01-10 22:30Z');
