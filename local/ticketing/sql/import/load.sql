-- From staging into the platform's tables. Defaults are those that docs/adopting.md states.
INSERT INTO organizers (organizer_id, name, country, created_at, updated_at)
SELECT organizer_id, name, country, coalesce(created_at, now()), coalesce(updated_at, now())
FROM import_organizers;

INSERT INTO events (event_id, organizer_id, name, category, venue, time_zone, currency, capacity,
                    on_sale_at, starts_at, ends_at, status, cancelled_at, created_at, updated_at)
SELECT event_id, organizer_id, name, category, venue, time_zone, currency, capacity, on_sale_at, starts_at, ends_at,
       coalesce(status, CASE WHEN cancelled_at IS NOT NULL THEN 'cancelled'
                             WHEN coalesce(ends_at, starts_at) < now() THEN 'completed' ELSE 'on_sale' END),
       cancelled_at, coalesce(created_at, now()), coalesce(updated_at, now())
FROM import_events;

INSERT INTO ticket_types (ticket_type_id, event_id, name, kind, price_minor, currency, quantity, updated_at)
SELECT ticket_type_id, event_id, name, coalesce(kind, 'admission'), price_minor, currency, quantity,
       coalesce(updated_at, now())
FROM import_ticket_types
UNION ALL
SELECT ticket_type_id, event_id, name, 'admission', price_minor, currency, NULL, now()
FROM import_created_types;

INSERT INTO customers (customer_id, created_at, updated_at)
SELECT customer_id, min(placed_at), now()
FROM import_orders WHERE customer_id IS NOT NULL GROUP BY customer_id;

INSERT INTO orders (order_id, event_id, customer_id, buyer_email, buyer_phone, status, channel, currency,
                    discount_minor, buyer_fees_minor, tax_minor, total_minor, platform_fee_minor, is_test,
                    placed_at, completed_at, cancelled_at, expired_at, updated_at)
SELECT o.order_id, o.event_id, o.customer_id, o.buyer_email, o.buyer_phone, o.status, coalesce(o.channel, 'unknown'), o.currency,
       coalesce(o.discount_minor, 0), coalesce(o.buyer_fees_minor, 0), coalesce(o.tax_minor, 0),
       coalesce(o.total_minor, greatest(0, coalesce(t.charged, 0) - coalesce(o.discount_minor, 0)
                + coalesce(o.buyer_fees_minor, 0) + coalesce(o.tax_minor, 0))::bigint),
       coalesce(o.platform_fee_minor, 0), coalesce(o.is_test, false),
       o.placed_at, o.sold_at, o.cancelled_at, o.expired_at, coalesce(o.updated_at, now())
FROM import_orders AS o
LEFT JOIN (SELECT order_id, sum(charged_minor) AS charged FROM import_tickets GROUP BY order_id) AS t USING (order_id)
ORDER BY o.placed_at;

INSERT INTO tickets (ticket_id, order_id, event_id, ticket_type_id, currency, list_price_minor, charged_minor, is_comp,
                     attendee_name, attendee_email, attendee_phone, contact_consent, status, issued_at,
                     cancelled_at, unsold_minor, retained_fee_minor, is_test, updated_at)
SELECT t.ticket_id, t.order_id, o.event_id, coalesce(t.ticket_type_id, c.ticket_type_id), o.currency, t.paid_list_minor,
       t.charged_minor, coalesce(t.is_comp, false), t.attendee_name, t.attendee_email, t.attendee_phone,
       coalesce(t.contact_consent, false), CASE WHEN t.cancelled_at IS NULL THEN 'issued' ELSE 'cancelled' END,
       o.sold_at, t.cancelled_at, coalesce(s.unsold_minor, 0)::bigint, coalesce(t.retained_fee_minor, 0),
       coalesce(o.is_test, false), coalesce(t.updated_at, now())
FROM import_tickets AS t
JOIN import_orders AS o USING (order_id)
LEFT JOIN import_created_types AS c ON t.ticket_type_id IS NULL AND c.event_id = o.event_id AND c.price_minor = t.paid_list_minor
LEFT JOIN import_shares AS s USING (ticket_id)
ORDER BY o.sold_at;

INSERT INTO payments (payment_id, order_id, event_id, provider, instrument, status, currency, amount_minor,
                      processing_fee_minor, is_test, created_at, confirmed_at, updated_at)
SELECT p.payment_id, p.order_id, o.event_id, p.provider, p.instrument, p.status, o.currency, p.amount_minor,
       coalesce(p.processing_fee_minor, 0), coalesce(o.is_test, false), coalesce(p.created_at, p.confirmed_at),
       p.confirmed_at, coalesce(p.updated_at, now())
FROM import_payments AS p JOIN import_orders AS o USING (order_id);

INSERT INTO refunds (refund_id, order_id, payment_id, event_id, provider, instrument, status, currency, amount_minor,
                     retained_fee_minor, platform_fee_returned_minor, processing_fee_returned_minor, reason, is_test,
                     requested_at, succeeded_at, failed_at, updated_at)
SELECT f.refund_id, f.order_id, f.payment_id, o.event_id, coalesce(f.provider, p.provider), coalesce(f.instrument, p.instrument),
       f.status, o.currency, f.amount_minor, coalesce(f.retained_fee_minor, 0),
       coalesce(f.platform_fee_returned_minor, 0), coalesce(f.processing_fee_returned_minor, 0), f.reason,
       coalesce(o.is_test, false), coalesce(f.requested_at, f.succeeded_at, f.failed_at), f.succeeded_at, f.failed_at,
       coalesce(f.updated_at, now())
FROM import_refunds AS f
JOIN import_orders AS o USING (order_id)
LEFT JOIN import_payments AS p USING (payment_id);
