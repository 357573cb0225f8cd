-- Sells that many more admissions of an event: $event, $tickets.
CREATE OR REPLACE TEMP TABLE sold AS
SELECT DATE '2026-03-05' AS business_date, $event * 10000000 + n AS ticket_id, n // 3 + 1 AS order_id,
       $event AS event_id,
       (SELECT min(ticket_type_id) FROM lake.raw_ticket_types
        WHERE event_id = $event AND kind = 'admission') AS ticket_type_id,
       'KES' AS currency, 150000 AS list_price_minor, 150000 - n % 7 AS charged_minor,
       false AS is_comp, TIMESTAMPTZ '2026-03-05 09:00:00+00' AS issued_at, false AS is_test
FROM range($tickets) AS t(n);
INSERT INTO lake.raw_tickets BY NAME
SELECT *, issued_at AS recorded_at, business_date AS sale_date, true AS is_issued_day,
       false AS is_cancelled_day
FROM sold;
INSERT INTO lake.raw_attendees BY NAME
SELECT business_date, ticket_id, event_id, 'Zoë O''Neil ' || ticket_id AS attendee_name,
       'zoe.' || ticket_id || '@example.com' AS attendee_email,
       '+2547' || lpad((ticket_id % 100000000)::VARCHAR, 8, '0') AS attendee_phone,
       ticket_id % 2 = 0 AS contact_consent, issued_at, issued_at AS recorded_at
FROM sold;
