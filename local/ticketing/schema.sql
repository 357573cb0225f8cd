-- The sample ticketing platform: the operational (OLTP) database that Box Office reads.
-- Money is BIGINT minor units of the row's currency; instants are timestamptz. Rows are mutable, and
-- every row carries updated_at, as a live platform keeps it.

CREATE TABLE organizers (
    organizer_id bigint PRIMARY KEY,
    name         text NOT NULL,
    country      text,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);

CREATE TABLE fee_plans (
    fee_plan_id     bigint PRIMARY KEY,
    organizer_id    bigint NOT NULL REFERENCES organizers,
    valid_from      timestamptz NOT NULL,
    rate_ppm        bigint NOT NULL CHECK (rate_ppm BETWEEN 0 AND 1000000),
    per_ticket_minor bigint NOT NULL CHECK (per_ticket_minor >= 0),
    currency        text NOT NULL,
    updated_at      timestamptz NOT NULL
);

CREATE TABLE events (
    event_id     bigint PRIMARY KEY,
    organizer_id bigint NOT NULL REFERENCES organizers,
    name         text NOT NULL,
    category     text,
    venue        text,
    time_zone    text NOT NULL,
    currency     text NOT NULL,
    capacity     bigint CHECK (capacity >= 0),
    on_sale_at   timestamptz,
    starts_at    timestamptz,
    ends_at      timestamptz,
    status       text NOT NULL CHECK (status IN ('draft', 'on_sale', 'sold_out', 'completed', 'cancelled')),
    cancelled_at timestamptz,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);

CREATE TABLE ticket_types (
    ticket_type_id bigint PRIMARY KEY,
    event_id       bigint NOT NULL REFERENCES events,
    name           text NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('admission', 'add_on', 'donation')),
    price_minor    bigint NOT NULL CHECK (price_minor >= 0),
    currency       text NOT NULL,
    quantity       bigint CHECK (quantity >= 0),
    updated_at     timestamptz NOT NULL
);

CREATE TABLE customers (
    customer_id bigint PRIMARY KEY,
    name        text,
    email       text,
    phone       text,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

-- total_minor = tickets' charged prices - discount_minor + buyer_fees_minor + tax_minor.
-- discount_minor is the order-level discount, not already in the tickets' charged prices.
-- is_test marks orders of the platform's test mode; it is repeated on every row that belongs to one.
CREATE TABLE orders (
    order_id           bigint PRIMARY KEY,
    event_id           bigint NOT NULL REFERENCES events,
    customer_id        bigint REFERENCES customers,
    buyer_email        text,
    buyer_phone        text,
    status             text NOT NULL CHECK (status IN ('pending', 'completed', 'cancelled', 'expired')),
    channel            text NOT NULL,
    currency           text NOT NULL,
    discount_minor     bigint NOT NULL DEFAULT 0 CHECK (discount_minor >= 0),
    buyer_fees_minor   bigint NOT NULL DEFAULT 0 CHECK (buyer_fees_minor >= 0),
    tax_minor          bigint NOT NULL DEFAULT 0 CHECK (tax_minor >= 0),
    total_minor        bigint NOT NULL DEFAULT 0 CHECK (total_minor >= 0),
    platform_fee_minor bigint NOT NULL DEFAULT 0 CHECK (platform_fee_minor >= 0),
    is_test            boolean NOT NULL DEFAULT false,
    placed_at          timestamptz NOT NULL,
    completed_at       timestamptz,
    cancelled_at       timestamptz,
    expired_at         timestamptz,
    updated_at         timestamptz NOT NULL
);

-- One row per admission, add-on or donation sold. issued_at is the instant its order was completed.
-- On cancellation unsold_minor is the part of the order's total that is un-sold with this ticket (its
-- charged price and its share of order discount, fees and tax), retained_fee_minor what is kept of it.
CREATE TABLE tickets (
    ticket_id          bigint PRIMARY KEY,
    order_id           bigint NOT NULL REFERENCES orders,
    event_id           bigint NOT NULL REFERENCES events,
    ticket_type_id     bigint NOT NULL REFERENCES ticket_types,
    currency           text NOT NULL,
    list_price_minor   bigint NOT NULL CHECK (list_price_minor >= 0),
    charged_minor      bigint NOT NULL CHECK (charged_minor >= 0),
    is_comp            boolean NOT NULL DEFAULT false,
    attendee_name      text,
    attendee_email     text,
    attendee_phone     text,
    contact_consent    boolean NOT NULL DEFAULT false,
    status             text NOT NULL CHECK (status IN ('issued', 'cancelled')),
    issued_at          timestamptz NOT NULL,
    cancelled_at       timestamptz,
    unsold_minor       bigint NOT NULL DEFAULT 0,
    retained_fee_minor bigint NOT NULL DEFAULT 0,
    is_test            boolean NOT NULL DEFAULT false,
    updated_at         timestamptz NOT NULL
);

CREATE TABLE payments (
    payment_id           bigint PRIMARY KEY,
    order_id             bigint NOT NULL REFERENCES orders,
    event_id             bigint NOT NULL REFERENCES events,
    provider             text NOT NULL CHECK (provider IN ('MPESA', 'PESAPAL', 'PAYHERO', 'CARD', 'CASH')),
    instrument           text NOT NULL CHECK (instrument IN ('mpesa', 'airtel', 'visa', 'mastercard', 'bank', 'cash')),
    status               text NOT NULL CHECK (status IN ('pending', 'confirmed', 'failed')),
    currency             text NOT NULL,
    amount_minor         bigint NOT NULL CHECK (amount_minor >= 0),
    processing_fee_minor bigint NOT NULL DEFAULT 0 CHECK (processing_fee_minor >= 0),
    is_test              boolean NOT NULL DEFAULT false,
    created_at           timestamptz NOT NULL,
    confirmed_at         timestamptz,
    updated_at           timestamptz NOT NULL
);

-- platform_fee_returned_minor and processing_fee_returned_minor go back to the organizer with the refund.
CREATE TABLE refunds (
    refund_id                     bigint PRIMARY KEY,
    order_id                      bigint NOT NULL REFERENCES orders,
    payment_id                    bigint REFERENCES payments,
    event_id                      bigint NOT NULL REFERENCES events,
    provider                      text NOT NULL,
    instrument                    text NOT NULL,
    status                        text NOT NULL CHECK (status IN ('requested', 'succeeded', 'failed')),
    currency                      text NOT NULL,
    amount_minor                  bigint NOT NULL CHECK (amount_minor >= 0),
    retained_fee_minor            bigint NOT NULL DEFAULT 0 CHECK (retained_fee_minor >= 0),
    platform_fee_returned_minor   bigint NOT NULL DEFAULT 0 CHECK (platform_fee_returned_minor >= 0),
    processing_fee_returned_minor bigint NOT NULL DEFAULT 0 CHECK (processing_fee_returned_minor >= 0),
    reason                        text,
    is_test                       boolean NOT NULL DEFAULT false,
    requested_at                  timestamptz NOT NULL,
    succeeded_at                  timestamptz,
    failed_at                     timestamptz,
    updated_at                    timestamptz NOT NULL
);

CREATE TABLE disputes (
    dispute_id    bigint PRIMARY KEY,
    payment_id    bigint NOT NULL REFERENCES payments,
    order_id      bigint NOT NULL REFERENCES orders,
    event_id      bigint NOT NULL REFERENCES events,
    provider      text NOT NULL,
    instrument    text NOT NULL,
    status        text NOT NULL CHECK (status IN ('withdrawn', 'reinstated')),
    currency      text NOT NULL,
    amount_minor  bigint NOT NULL CHECK (amount_minor >= 0),
    fee_minor     bigint NOT NULL DEFAULT 0 CHECK (fee_minor >= 0),
    is_test       boolean NOT NULL DEFAULT false,
    withdrawn_at  timestamptz NOT NULL,
    reinstated_at timestamptz,
    updated_at    timestamptz NOT NULL
);

-- uploaded_at is later than scanned_at when an offline scanner synchronised late.
CREATE TABLE check_ins (
    check_in_id    bigint PRIMARY KEY,
    ticket_id      bigint NOT NULL REFERENCES tickets,
    order_id       bigint NOT NULL REFERENCES orders,
    event_id       bigint NOT NULL REFERENCES events,
    ticket_type_id bigint NOT NULL REFERENCES ticket_types,
    gate           text,
    is_test        boolean NOT NULL DEFAULT false,
    scanned_at     timestamptz NOT NULL,
    uploaded_at    timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);

CREATE TABLE checkouts (
    checkout_id  bigint PRIMARY KEY,
    event_id     bigint NOT NULL REFERENCES events,
    order_id     bigint REFERENCES orders,
    channel      text NOT NULL,
    is_test      boolean NOT NULL DEFAULT false,
    started_at   timestamptz NOT NULL,
    converted_at timestamptz,
    updated_at   timestamptz NOT NULL
);

-- Counted by the web tier per event and calendar day of the platform's reporting time zone.
CREATE TABLE page_views (
    event_id   bigint NOT NULL REFERENCES events,
    view_date  date NOT NULL,
    channel    text NOT NULL,
    page_views bigint NOT NULL CHECK (page_views >= 0),
    visitors   bigint NOT NULL CHECK (visitors >= 0),
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (event_id, view_date, channel)
);
