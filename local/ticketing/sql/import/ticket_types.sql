-- Tickets without a ticket type get one: an admission per event and list price.
CREATE TEMP TABLE import_created_types ON COMMIT DROP AS
WITH highest AS (
    SELECT coalesce(max(ticket_type_id), 0) AS id FROM import_ticket_types
), priced AS (
    SELECT DISTINCT o.event_id, o.currency, t.paid_list_minor AS price_minor
    FROM import_tickets AS t JOIN import_orders AS o USING (order_id) WHERE t.ticket_type_id IS NULL
)
SELECT highest.id + row_number() OVER (ORDER BY event_id, price_minor) AS ticket_type_id,
       event_id, currency, price_minor,
       CASE WHEN count(*) OVER (PARTITION BY event_id) = 1 THEN 'Admission'
            ELSE 'Admission ' || round(price_minor / power(10::numeric, decimals), decimals) END AS name
FROM priced JOIN import_currencies USING (currency) CROSS JOIN highest
