-- The generator's vocabulary. Every draw is a pure function of (seed, stream, row id): the same seed
-- gives the same rows whatever the chunk, the thread or the order of evaluation.
-- Inside the generator instants are BIGINT microseconds since 1970 (UTC); the loader makes timestamptz.

-- Uniform in [0, 1): 53 bits of the finalised hash of the row id and the salted stream.
CREATE OR REPLACE MACRO u(stream, id) AS
    (hash(xor(hash(id), hash(hash(stream), getvariable('seed')))) >> 11)::DOUBLE / 9007199254740992.0;

-- Standard normal (Box-Muller) and exponential of mean 1.
CREATE OR REPLACE MACRO normal(stream, id) AS
    sqrt(-2.0 * ln(1.0 - u(stream || ' r', id))) * cos(6.283185307179586 * u(stream || ' a', id));
CREATE OR REPLACE MACRO exponential(stream, id) AS -ln(1.0 - u(stream, id));

-- An element of a list, and an integer in [lo, hi], by a uniform draw.
CREATE OR REPLACE MACRO pick(choices, draw) AS choices[1 + floor(draw * len(choices))::BIGINT];
CREATE OR REPLACE MACRO between_by(lo, hi, draw) AS lo + floor(draw * (hi - lo + 1))::BIGINT;

CREATE OR REPLACE MACRO seconds(x) AS floor((x) * 1000000.0)::BIGINT;
CREATE OR REPLACE MACRO minutes(x) AS floor((x) * 60000000.0)::BIGINT;
CREATE OR REPLACE MACRO hours(x) AS floor((x) * 3600000000.0)::BIGINT;

-- A price level in KES as a price people print on posters, in minor units of the currency.
CREATE OR REPLACE MACRO poster_price(kes, currency) AS CASE currency
    WHEN 'KES' THEN greatest(1, round(kes / 50.0)::BIGINT) * 5000
    WHEN 'UGX' THEN greatest(1, round(kes * 28.0 / 1000.0)::BIGINT) * 1000
    WHEN 'TZS' THEN greatest(1, round(kes * 20.0 / 500.0)::BIGINT) * 50000
    ELSE greatest(2, round(kes / 130.0)::BIGINT) * 100 - 1 END;

-- The second of the day at which people buy: evening peak, a lunch hump, some at any hour.
CREATE OR REPLACE MACRO second_of_day(id) AS floor(
    CASE WHEN u('hour shape', id) < 0.52 THEN 72000.0 + 6600.0 * normal('evening', id)
         WHEN u('hour shape', id) < 0.86 THEN 46800.0 + 9000.0 * normal('midday', id)
         ELSE 86400.0 * u('any hour', id) END * 1000000.0)::BIGINT;

-- People. About 2% of the names are legal text that careless software trips over.
CREATE OR REPLACE MACRO hostile_name(draw) AS pick([
    '=1+1', '=HYPERLINK("http://example.com","Click")', '@SUM(A1:A9)', '+254712345678', '-5', '-2+3',
    'Otieno, James', 'Njeri "DJ" Kamau', 'Amina' || chr(10) || 'Hassan', 'Wanjiku 🎉', '  Kiprop  ',
    'O''Connor; Sean', 'Null', 'TRUE', '007', 'Mwangi' || chr(9) || 'Peter', '<b>Achieng</b>', '=cmd|'' /C calc''!A0',
    'Zoë' || chr(13) || chr(10) || 'Ng''ang''a', '1e5'], draw);
CREATE OR REPLACE MACRO first_name(draw) AS pick([
    'Wanjiku', 'Achieng', 'Otieno', 'Kamau', 'Njeri', 'Kiprop', 'Mutua', 'Nafula', 'Juma', 'Amina', 'Zawadi',
    'Baraka', 'Neema', 'Tunde', 'Chiamaka', 'Adébáyọ̀', 'Ọlábísí', 'Ngũgĩ', 'Wambũi', 'Kwame', 'Akosua', 'José',
    'Zoë', 'Jürgen', 'Søren', 'Łukasz', 'Chloé', 'Siobhán', 'Mary', 'James', 'Grace', 'Peter', 'Faith', 'Brian',
    'محمد', 'فاطمة', 'أحمد', 'عائشة', 'Yusuf', 'Halima', 'Dawit', 'ሰላም', 'Nakato', 'Okello', 'Rehema', 'Imani'], draw);
CREATE OR REPLACE MACRO last_name(draw) AS pick([
    'Odhiambo', 'Mwangi', 'Wafula', 'Cheruiyot', 'Kariuki', 'Ochieng', 'Mutiso', 'Barasa', 'Ng''ang''a', 'Hassan',
    'Mbeki', 'Okonkwo', 'Adékúnlé', 'Mensah', 'Nkurunziza', 'Ssebunya', 'Nabwire', 'Mushi', 'Kimaro', 'Massawe',
    'Smith', 'O''Brien', 'Müller', 'García', 'Dvořák', 'Ångström', 'Şahin', 'Lefèvre', 'van der Merwe', 'Patel',
    'العربي', 'حسن', 'الكيني', 'Tesfaye', 'Ali', 'Abdi', 'Waweru', 'Chebet', 'Kĩmathi', 'Njoroge'], draw);
CREATE OR REPLACE MACRO person_name(stream, id) AS
    CASE WHEN u(stream || ' hostile', id) < 0.02 THEN hostile_name(u(stream || ' which', id))
         ELSE first_name(u(stream || ' first', id)) || ' ' || last_name(u(stream || ' last', id)) END;
CREATE OR REPLACE MACRO phone_number(stream, id) AS
    pick(['+2547', '+2547', '+2541', '+2567', '+2557'], u(stream || ' network', id))
    || lpad((floor(u(stream || ' number', id) * 100000000.0)::BIGINT)::VARCHAR, 8, '0');
CREATE OR REPLACE MACRO customer_email(customer_id) AS
    pick(['wanjiku', 'otieno', 'amina', 'grace', 'brian', 'info', 'j.k', 'events'], u('email word', customer_id))
    || customer_id || pick(['@example.com', '@mail.example.org', '@example.net'], u('email domain', customer_id));

-- updated_at of a row last changed by business at `instant`: for a share of the rows a correction came days
-- or weeks later (if it has come by now).
CREATE OR REPLACE MACRO edited_at(instant, share, id) AS
    CASE WHEN u('edited', id) < share AND instant + hours(30 + 1400 * u('edit lag', id)) <= getvariable('until')
         THEN instant + hours(30 + 1400 * u('edit lag', id)) ELSE instant END;
