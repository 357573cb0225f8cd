-- An order is only as right as its tickets: their number and prices must give what the order states. An
-- order that states no total would silently shrink with a refused ticket, so it is refused with it.
WITH sums AS (
    SELECT order_id, count(*) AS tickets, sum(charged_minor) AS charged FROM import_tickets GROUP BY order_id
), refused_tickets AS (
    SELECT order_id, min(line) AS line FROM import_refused
    WHERE file = 'tickets.csv' AND order_id IS NOT NULL GROUP BY order_id
), totals AS (
    SELECT o.*, coalesce(s.tickets, 0) AS tickets, r.line AS refused_line,
           coalesce(s.charged, 0) - coalesce(o.discount_minor, 0) + coalesce(o.buyer_fees_minor, 0)
               + coalesce(o.tax_minor, 0) AS sum_minor
    FROM import_orders AS o LEFT JOIN sums AS s USING (order_id) LEFT JOIN refused_tickets AS r USING (order_id)
    WHERE o.sold_at IS NOT NULL
)
INSERT INTO import_refused (file, line, column_name, value, reason, detail, key, order_id)
SELECT 'orders.csv', t.line, p.column_name, coalesce(p.value, ''), p.reason,
       nullif(concat_ws(', ', p.detail, 'a ticket was refused on line ' || refused_line || ' of tickets.csv'), ''), order_id, order_id
FROM totals AS t
CROSS JOIN LATERAL (VALUES
    (ticket_count <> tickets,
     'ticket_count', ticket_count::text, 'is not the number of its tickets; correct it or add the tickets', tickets || ' tickets'),
    (total_minor <> sum_minor,
     'total_minor', total_minor::text,
     'is not the sum of its tickets less discount plus fees and tax; correct one of them', sum_minor || ' in minor units'),
    (total_minor IS NULL AND sum_minor < 0,
     'discount_minor', discount_minor::text, 'is more than its tickets, fees and tax', NULL),
    (total_minor IS NULL AND sum_minor > 9223372036854775807,
     'total_minor', sum_minor::text, 'does not fit 64 bits; the largest number is 9223372036854775807', NULL),
    (total_minor IS NULL AND refused_line IS NOT NULL,
     'total_minor', NULL, 'cannot be told: a ticket of the order was refused; correct that one', NULL)
) AS p (is_wrong, column_name, value, reason, detail)
WHERE p.is_wrong
