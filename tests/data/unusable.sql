-- Beside the golden vector: what no constraint of a platform held back, one thing wrong in each row.
DO $relax$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT conrelid::regclass AS name, conname FROM pg_constraint
                 WHERE connamespace = 'public'::regnamespace AND contype IN ('f', 'c', 'n')
                 ORDER BY contype
    LOOP
        IF found.conname NOT LIKE '%_pkey' AND NOT EXISTS (
            SELECT FROM pg_index i JOIN pg_constraint c ON c.conname = found.conname
                AND c.conrelid = i.indrelid AND c.conkey <@ i.indkey::int2[]
            WHERE i.indisprimary AND c.contype = 'n')
        THEN
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.name, found.conname);
        END IF;
    END LOOP;
END
$relax$;
ALTER TABLE payments ALTER COLUMN amount_minor TYPE numeric;

INSERT INTO events (event_id, organizer_id, name, time_zone, currency, capacity, status, created_at,
                    updated_at) VALUES
    (50, 1, 'No such money', 'Africa/Nairobi', 'XXX', 1, 'on_sale', '2024-01-01Z', '2024-01-01Z'),
    (51, 9, 'Nobody''s', 'Africa/Nairobi', 'KES', 1, 'on_sale', '2024-01-01Z', '2024-01-01Z'),
    (52, 1, 'Less than empty', 'Africa/Nairobi', 'KES', -1, 'on_sale', '2024-01-01Z', '2024-01-01Z');
INSERT INTO ticket_types VALUES (70, 1, 'In dollars', 'admission', 1, 'USD', 1, '2024-01-01Z');

INSERT INTO orders (order_id, event_id, status, channel, currency, total_minor, tax_minor, placed_at,
                    completed_at, expired_at, updated_at) VALUES
    (101, 99, 'completed', 'web', 'KES', 1, 0, '2024-01-11Z', '2024-01-11Z', NULL, '2024-01-11Z'),
    (102, 1, 'completed', 'web', 'KSH', 1, 0, '2024-01-11Z', '2024-01-11Z', NULL, '2024-01-11Z'),
    (103, 1, 'completed', 'web', 'UGX', 1, 0, '2024-01-11Z', '2024-01-11Z', NULL, '2024-01-11Z'),
    (104, 1, 'completed', 'web', 'KES', -1, 0, '2024-01-11Z', '2024-01-11Z', NULL, '2024-01-11Z'),
    (105, 1, 'completed', 'web', 'KES', 1, 1000000000000001, '2024-01-11Z', '2024-01-11Z', NULL,
     '2024-01-11Z'),
    (106, 1, 'completed', NULL, 'KES', 1, 0, '2024-01-11Z', '2024-01-12Z', NULL, '2024-01-11Z'),
    (107, 1, 'completed', 'web', 'KES', 1, 0, '2024-01-11Z', '1970-01-01Z', NULL, '2024-01-11Z'),
    (108, 1, 'pending', 'web', 'KES', 1, 0, '2024-01-11Z', NULL, '9999-12-31Z', '2024-01-11Z'),
    (109, 1, 'pending', 'web', 'KES', 1, 0, '2024-01-11Z', NULL, NULL, '9999-12-31Z'),
    (110, 50, 'pending', 'web', 'XXX', 1, 0, '2024-01-11Z', NULL, NULL, '2024-01-11Z');
INSERT INTO tickets (ticket_id, order_id, event_id, ticket_type_id, currency, list_price_minor,
                     charged_minor, status, issued_at, updated_at) VALUES
    (201, 1, 1, 77, 'KES', 5, 5, 'issued', '2024-01-11Z', '2024-01-11Z'),
    (202, 1, 1, 70, 'KES', 5, 5, 'issued', '2024-01-11Z', '2024-01-11Z');
INSERT INTO payments (payment_id, order_id, event_id, provider, instrument, status, currency,
                      amount_minor, created_at, confirmed_at, updated_at) VALUES
    (301, 1, 1, 'CARD', 'visa', 'confirmed', 'KES', 'NaN', now(), '2024-01-11Z', '2024-01-11Z'),
    (302, 1, 1, 'CARD', 'visa', 'confirmed', 'KES', 'Infinity', now(), '2024-01-11Z', '2024-01-11Z'),
    (303, 1, 1, 'CARD', 'visa', 'confirmed', 'KES', 10.5, now(), '2024-01-11Z', '2024-01-11Z'),
    (304, 1, 1, 'CARD', 'visa', 'confirmed', 'KES', 1e30, now(), '2024-01-11Z', '2024-01-11Z'),
    (305, 1, 1, 'CARD', 'visa', 'confirmed', 'KES', NULL, now(), '2024-01-11Z', '2024-01-11Z'),
    (306, 1, 1, 'CARD', 'visa', 'confirmed', 'KES', 25.00, now(), '2024-01-11Z', '2024-01-11Z'),
    (307, 1, 1, 'CARD', 'visa', 'confirmed', 'KES', 7, now(), '1970-01-01Z', '2024-01-11Z');
INSERT INTO page_views VALUES
    (1, '2024-01-11', 'web', 10, 5, '2024-01-11Z'),
    (1, '2024-01-11', 'ios', -1, 5, '2024-01-11Z'),
    (1, '9999-12-31', 'web', 10, 5, '2024-01-11Z');
