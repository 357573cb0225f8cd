-- The platform's secondary indexes, made after a bulk load. The time indexes are what the extraction's
-- day ranges use; partial ones stay small where the column is mostly NULL.
CREATE INDEX orders_placed_at ON orders (placed_at);
CREATE INDEX orders_completed_at ON orders (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX orders_cancelled_at ON orders (cancelled_at) WHERE cancelled_at IS NOT NULL;
CREATE INDEX orders_expired_at ON orders (expired_at) WHERE expired_at IS NOT NULL;
CREATE INDEX orders_event_id ON orders (event_id);
CREATE INDEX tickets_issued_at ON tickets (issued_at);
CREATE INDEX tickets_cancelled_at ON tickets (cancelled_at) WHERE cancelled_at IS NOT NULL;
CREATE INDEX tickets_order_id ON tickets (order_id);
CREATE INDEX payments_confirmed_at ON payments (confirmed_at) WHERE confirmed_at IS NOT NULL;
CREATE INDEX payments_order_id ON payments (order_id);
CREATE INDEX refunds_succeeded_at ON refunds (succeeded_at) WHERE succeeded_at IS NOT NULL;
CREATE INDEX refunds_order_id ON refunds (order_id);
CREATE INDEX disputes_withdrawn_at ON disputes (withdrawn_at);
CREATE INDEX disputes_reinstated_at ON disputes (reinstated_at) WHERE reinstated_at IS NOT NULL;
CREATE INDEX check_ins_scanned_at ON check_ins (scanned_at);
CREATE INDEX checkouts_started_at ON checkouts (started_at);
CREATE INDEX page_views_view_date ON page_views (view_date);
-- Changes of past days are found by updated_at.
CREATE INDEX orders_updated_at ON orders (updated_at);
CREATE INDEX tickets_updated_at ON tickets (updated_at);
CREATE INDEX payments_updated_at ON payments (updated_at);
CREATE INDEX refunds_updated_at ON refunds (updated_at);
CREATE INDEX disputes_updated_at ON disputes (updated_at);
CREATE INDEX check_ins_updated_at ON check_ins (updated_at);
CREATE INDEX checkouts_updated_at ON checkouts (updated_at);
CREATE INDEX page_views_updated_at ON page_views (updated_at);
-- What the platform itself looks up: open orders and their checkout, refunds to pay, the ticket at the gate.
CREATE INDEX orders_pending ON orders (placed_at) WHERE status = 'pending';
CREATE INDEX refunds_requested ON refunds (requested_at) WHERE status = 'requested';
CREATE INDEX check_ins_ticket_id ON check_ins (ticket_id);
CREATE INDEX checkouts_order_id ON checkouts (order_id) WHERE order_id IS NOT NULL;
