-- One flat table of attendees in the ticketing database, for everybody who reads from Postgres.
-- Event n has the n-th number of rows asked for; tickets of all events were sold over 120 days.
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.attendees (
    event_id bigint NOT NULL,
    ticket_id bigint NOT NULL,
    order_id bigint NOT NULL,
    event_name text NOT NULL,
    ticket_type_id bigint NOT NULL,
    ticket_type_name text NOT NULL,
    status text NOT NULL,
    attendee_name text NOT NULL,
    attendee_email text,
    attendee_phone text,
    charged_minor bigint NOT NULL,
    currency text NOT NULL,
    issued_at timestamptz NOT NULL,
    cancelled_at timestamptz,
    checked_in_at timestamptz
);
SELECT setseed(0.42);
WITH names AS (
    SELECT ARRAY['Wanjiku', 'Achieng', 'Nyambura', 'Kamau', 'Otieno', 'Mwangi', 'Njoroge', 'Chebet',
                 'Kiprotich', 'Amina', 'Fatuma', 'Zawadi', 'Baraka', 'Neema', 'Juma', 'Asha', 'Grace',
                 'Brian', 'Faith', 'Kevin', 'Mercy', 'Dennis', 'Joy', 'Samuel', 'Esther', 'Peter',
                 'Ruth', 'Daniel', 'Lydia', 'Collins', 'José', 'Zoë', 'François', 'Łukasz', 'Søren',
                 'Nguyễn', 'Wanjikũ', 'Ng''endo', 'Анна', 'Ελένη', 'محمد', 'فاطمة', 'አበበ']
               AS given,
           ARRAY['Ochieng', 'Kariuki', 'Mutua', 'Wekesa', 'Odhiambo', 'Kimani', 'Muthoni', 'Barasa',
                 'Cheruiyot', 'Hassan', 'Abdi', 'Omondi', 'Waweru', 'Gitau', 'Maina', 'Njeri',
                 'Rotich', 'Langat', 'Simiyu', 'Musyoka', 'Onyango', 'Karanja', 'Wambui', 'Kiptoo',
                 'Mũthoni', 'O''Connor', 'van der Merwe', 'Müller', 'García', 'Šimůnek', 'Okafor-Smith',
                 'Nakato', 'Ssemwogerere', 'Mbabazi', 'Tesfaye', 'Habtamu', 'Иванова', 'Παππάς',
                 'الحسن', 'ተስፋዬ']
               AS family
),
sizes AS (
    SELECT event_id, rows
    FROM unnest(%(rows)s::bigint[]) WITH ORDINALITY AS s (rows, event_id)
),
drawn AS (
    SELECT s.event_id,
           given[1 + floor(random() * cardinality(given))::int] AS first_name,
           family[1 + floor(random() * cardinality(family))::int] AS last_name,
           1 + floor(random() * random() * 5)::int AS type, random() AS luck,
           7 * 10 ^ 8 + floor(random() * 10 ^ 8) AS phone,
           timestamptz '2026-01-05 00:00+03' + interval '120 days' * sqrt(random()) AS issued_at
    FROM sizes AS s, names, generate_series(1, s.rows) AS n
),
sold AS (
    SELECT *, row_number() OVER (ORDER BY issued_at) AS ticket_id
    FROM drawn
)
INSERT INTO bench.attendees
SELECT event_id, ticket_id, (ticket_id * 2 + 1) / 3, 'Sauti & Nyege Festival 2026, day ' || event_id,
       event_id * 10 + type,
       (ARRAY['Regular', 'Early bird', 'VIP', 'Group of 5', 'Student (ID at the gate)'])[type],
       CASE WHEN luck < 0.03 THEN 'cancelled' ELSE 'issued' END,
       first_name || CASE WHEN luck > 0.8 THEN ' ' || chr(65 + (ticket_id %% 26)::int) || '. ' ELSE ' ' END
           || last_name,
       CASE WHEN luck > 0.02
            THEN translate(lower(regexp_replace(first_name, '[^A-Za-z]', '', 'g')), ' ', '')
                 || '.' || ticket_id
                 || (ARRAY['@gmail.com', '@yahoo.co.uk', '@example.co.ke'])[1 + ticket_id %% 3] END,
       CASE WHEN luck < 0.9 THEN '+254' || phone::bigint END,
       type * 125000 + (ticket_id %% 4) * 9950, 'KES', date_trunc('milliseconds', issued_at),
       CASE WHEN luck < 0.03 THEN date_trunc('milliseconds', issued_at) + interval '2 days' END,
       CASE WHEN luck BETWEEN 0.03 AND 0.7
            THEN timestamptz '2026-05-16 15:00+03' + interval '1 millisecond' * (luck * 3e7)::bigint
       END
FROM sold
ORDER BY ticket_id;
ALTER TABLE bench.attendees ADD PRIMARY KEY (event_id, ticket_id);
GRANT USAGE ON SCHEMA bench TO boxoffice_source_reader;
GRANT SELECT ON bench.attendees TO boxoffice_source_reader;
