-- Where rows wait, converted but not yet checked against each other. They go with the transaction.
CREATE TEMP TABLE import_refused (
    file text NOT NULL, line bigint NOT NULL, column_name text NOT NULL, value text NOT NULL,
    reason text NOT NULL, detail text, key bigint, order_id bigint
) ON COMMIT DROP;
CREATE TEMP TABLE import_columns (
    file text, staged text, header text, PRIMARY KEY (file, staged)
) ON COMMIT DROP;
CREATE TEMP TABLE import_currencies (currency text PRIMARY KEY, decimals integer NOT NULL) ON COMMIT DROP;
CREATE TEMP TABLE import_organizers (
    line bigint, organizer_id bigint, time_zone text, currency text, name text, country text,
    created_at timestamptz, updated_at timestamptz
) ON COMMIT DROP;
CREATE TEMP TABLE import_events (
    line bigint, event_id bigint, organizer_id bigint, time_zone text, currency text, name text,
    category text, venue text, capacity bigint, on_sale_at timestamptz, starts_at timestamptz,
    ends_at timestamptz, status text, cancelled_at timestamptz, created_at timestamptz, updated_at timestamptz
) ON COMMIT DROP;
CREATE TEMP TABLE import_ticket_types (
    line bigint, ticket_type_id bigint, event_id bigint, currency text, name text, kind text,
    price_minor bigint, quantity bigint, updated_at timestamptz
) ON COMMIT DROP;
-- An order without its own instant of completion was completed when it was placed.
CREATE TEMP TABLE import_orders (
    line bigint, order_id bigint, event_id bigint, currency text, customer_id bigint, buyer_email text,
    buyer_phone text, status text, channel text, ticket_count bigint, discount_minor bigint,
    buyer_fees_minor bigint, tax_minor bigint, total_minor bigint, platform_fee_minor bigint,
    is_test boolean, placed_at timestamptz, completed_at timestamptz, cancelled_at timestamptz,
    expired_at timestamptz, updated_at timestamptz,
    sold_at timestamptz GENERATED ALWAYS AS
        (coalesce(completed_at, CASE WHEN status = 'completed' THEN placed_at END)) STORED
) ON COMMIT DROP;
CREATE TEMP TABLE import_tickets (
    line bigint, ticket_id bigint, order_id bigint, event_id bigint, currency text, ticket_type_id bigint,
    list_price_minor bigint, charged_minor bigint, is_comp boolean, attendee_name text,
    attendee_email text, attendee_phone text, contact_consent boolean, status text,
    cancelled_at timestamptz, unsold_minor bigint, retained_fee_minor bigint, updated_at timestamptz,
    paid_list_minor bigint GENERATED ALWAYS AS (coalesce(list_price_minor, charged_minor)) STORED
) ON COMMIT DROP;
CREATE TEMP TABLE import_payments (
    line bigint, payment_id bigint, order_id bigint, event_id bigint, currency text, provider text,
    instrument text, status text, amount_minor bigint, processing_fee_minor bigint,
    created_at timestamptz, confirmed_at timestamptz, updated_at timestamptz
) ON COMMIT DROP;
CREATE TEMP TABLE import_refunds (
    line bigint, refund_id bigint, order_id bigint, payment_id bigint, event_id bigint, currency text,
    provider text, instrument text, status text, amount_minor bigint, retained_fee_minor bigint,
    platform_fee_returned_minor bigint, processing_fee_returned_minor bigint, reason text,
    requested_at timestamptz, succeeded_at timestamptz, failed_at timestamptz, updated_at timestamptz
) ON COMMIT DROP;
