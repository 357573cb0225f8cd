-- The tickets of completed orders. The buyer is the first attendee; one in five others is unnamed.
SELECT getvariable('next_ticket_id') - 1 + row_number() OVER (ORDER BY l.order_id, l.seq) AS ticket_id,
       l.order_id, o.event_id, l.ticket_type_id, o.currency, l.list_minor AS list_price_minor, l.charged_minor, l.is_comp,
       CASE WHEN l.kind <> 'admission' THEN NULL
            WHEN l.seq = 0 AND o.customer_id IS NOT NULL THEN person_name('customer', o.customer_id)
            WHEN u('attendee named', l.line_key) < 0.8 THEN person_name('attendee', l.line_key) END AS attendee_name,
       CASE WHEN l.kind <> 'admission' THEN NULL
            WHEN l.seq = 0 AND o.customer_id IS NOT NULL THEN customer_email(o.customer_id)
            WHEN u('attendee email', l.line_key) < 0.3 THEN 'guest' || l.line_key || '@example.org' END AS attendee_email,
       CASE WHEN l.kind = 'admission' AND u('attendee phone', l.line_key) < 0.3 THEN phone_number('attendee', l.line_key)
            END AS attendee_phone,
       l.kind = 'admission' AND u('consent', l.line_key) < 0.35 AS contact_consent,
       CASE WHEN x.cancelled_at IS NULL THEN 'issued' ELSE 'cancelled' END AS status,
       o.completed_at AS issued_at, x.cancelled_at,
       coalesce(x.unsold_minor, 0) AS unsold_minor, coalesce(x.retained_fee_minor, 0) AS retained_fee_minor, o.is_test,
       edited_at(greatest(o.completed_at, x.cancelled_at), 0.008, l.line_key) AS updated_at,
       l.kind, l.line_key
FROM lines AS l
JOIN order_plan AS o USING (order_id)
LEFT JOIN cancelled_lines AS x USING (order_id, seq)
WHERE o.completed_at IS NOT NULL
ORDER BY ticket_id
