SELECT ticket_type_id, event_id, name, kind, price_minor, currency, quantity
FROM ticket_types
