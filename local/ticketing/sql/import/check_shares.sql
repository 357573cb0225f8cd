-- What is kept of a cancelled ticket cannot exceed what is un-sold with it.
INSERT INTO import_refused (file, line, column_name, value, reason, detail, key, order_id)
SELECT 'tickets.csv', t.line, 'retained_fee_minor', t.retained_fee_minor::text,
       'is more than what is un-sold; correct it', s.unsold_minor || ' in minor units', t.ticket_id, t.order_id
FROM import_tickets AS t JOIN import_shares AS s USING (ticket_id)
WHERE t.retained_fee_minor > s.unsold_minor
