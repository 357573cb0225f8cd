-- The ledger: one row for each thing that happened, on the reporting day it happened, with one signed
-- column per base measure. A view over the raw tables: see docs/architecture.md for the measurement.
WITH ticket_kinds AS NOT MATERIALIZED (
    SELECT ticket_type_id, kind = 'admission' AS is_admission
    FROM {{ lake }}.raw_ticket_types
),
legs AS NOT MATERIALIZED (
    SELECT 'orders:' || order_id || ':placed' AS movement_id, 'order_placed' AS kind, business_date,
           placed_at AS effective_at, recorded_at, business_date AS origin_date, event_id, order_id,
           channel, currency, 1 AS requests
    FROM {{ lake }}.raw_orders
    WHERE is_placed_day AND NOT is_test
    UNION ALL BY NAME
    SELECT 'orders:' || order_id || ':completed' AS movement_id, 'order_completed' AS kind,
           business_date, completed_at AS effective_at, recorded_at, business_date AS origin_date,
           event_id, order_id, channel, currency, buyer_key, 1 AS orders,
           CAST(total_minor = 0 AS BIGINT) AS free_orders, discount_minor AS discounts,
           buyer_fees_minor AS buyer_fees, tax_minor AS tax, platform_fee_minor AS platform_fees
    FROM {{ lake }}.raw_orders
    WHERE is_completed_day AND NOT is_test
    UNION ALL BY NAME
    SELECT 'orders:' || order_id || ':test' AS movement_id, 'test_order' AS kind, business_date,
           completed_at AS effective_at, recorded_at, business_date AS origin_date, event_id,
           order_id, channel, currency, 1 AS test_orders
    FROM {{ lake }}.raw_orders
    WHERE is_completed_day AND is_test
    UNION ALL BY NAME
    SELECT 'orders:' || order_id || ':cancelled' AS movement_id, 'order_cancelled' AS kind,
           business_date, cancelled_at AS effective_at, recorded_at, event_id, order_id, channel,
           currency, 1 AS orders_cancelled
    FROM {{ lake }}.raw_orders
    WHERE is_cancelled_day AND NOT is_test
    UNION ALL BY NAME
    SELECT 'orders:' || order_id || ':expired' AS movement_id, 'order_expired' AS kind,
           business_date, expired_at AS effective_at, recorded_at, event_id, order_id, channel,
           currency, 1 AS orders_expired
    FROM {{ lake }}.raw_orders
    WHERE is_expired_day AND NOT is_test
    UNION ALL BY NAME
    SELECT 'tickets:' || ticket_id || ':sold' AS movement_id, 'sale_line' AS kind, business_date,
           issued_at AS effective_at, recorded_at, sale_date AS origin_date, event_id,
           ticket_type_id, order_id, currency,
           CAST(is_admission AND NOT is_comp AND charged_minor > 0 AS BIGINT) AS tickets_paid,
           CAST(is_admission AND NOT is_comp AND charged_minor = 0 AS BIGINT) AS tickets_free,
           CAST(is_admission AND is_comp AS BIGINT) AS tickets_comp,
           list_price_minor AS face_value, list_price_minor - charged_minor AS discounts
    FROM {{ lake }}.raw_tickets
    LEFT JOIN ticket_kinds USING (ticket_type_id)
    WHERE is_issued_day AND NOT is_test
    UNION ALL BY NAME
    SELECT 'tickets:' || ticket_id || ':cancelled' AS movement_id, 'ticket_cancelled' AS kind,
           business_date, cancelled_at AS effective_at, recorded_at, sale_date AS origin_date,
           event_id, ticket_type_id, order_id, currency,
           CAST(is_admission AS BIGINT) AS tickets_cancelled,
           unsold_minor - retained_fee_minor AS sale_reversals
    FROM {{ lake }}.raw_tickets
    LEFT JOIN ticket_kinds USING (ticket_type_id)
    WHERE is_cancelled_day AND NOT is_test
    UNION ALL BY NAME
    SELECT 'payments:' || payment_id || ':confirmed' AS movement_id, 'payment' AS kind,
           business_date, confirmed_at AS effective_at, recorded_at, event_id, order_id, provider,
           instrument, currency, amount_minor AS payments, 1 AS payments_count,
           processing_fee_minor AS processing_fees
    FROM {{ lake }}.raw_payments
    WHERE NOT is_test
    UNION ALL BY NAME
    SELECT 'refunds:' || refund_id || ':succeeded' AS movement_id, 'refund' AS kind, business_date,
           succeeded_at AS effective_at, recorded_at, sale_date AS origin_date, event_id, order_id,
           provider, instrument, currency, amount_minor AS refunds, 1 AS refunds_count,
           -platform_fee_returned_minor AS platform_fees,
           -processing_fee_returned_minor AS processing_fees
    FROM {{ lake }}.raw_refunds
    WHERE NOT is_test
    UNION ALL BY NAME
    SELECT 'disputes:' || dispute_id || ':withdrawn' AS movement_id, 'dispute_withdrawn' AS kind,
           business_date, withdrawn_at AS effective_at, recorded_at, sale_date AS origin_date,
           event_id, order_id, provider, instrument, currency, amount_minor AS chargebacks,
           fee_minor AS processing_fees
    FROM {{ lake }}.raw_disputes
    WHERE is_withdrawn_day AND NOT is_test
    UNION ALL BY NAME
    SELECT 'disputes:' || dispute_id || ':reinstated' AS movement_id, 'dispute_reinstated' AS kind,
           business_date, reinstated_at AS effective_at, recorded_at, sale_date AS origin_date,
           event_id, order_id, provider, instrument, currency, -amount_minor AS chargebacks
    FROM {{ lake }}.raw_disputes
    WHERE is_reinstated_day AND NOT is_test
    UNION ALL BY NAME
    SELECT 'check_ins:' || check_in_id || ':scanned' AS movement_id, 'check_in' AS kind,
           business_date, scanned_at AS effective_at, recorded_at, event_id, ticket_type_id,
           order_id, CAST(is_admission AS BIGINT) AS check_ins
    FROM {{ lake }}.raw_check_ins
    LEFT JOIN ticket_kinds USING (ticket_type_id)
    WHERE NOT is_test
    UNION ALL BY NAME
    SELECT 'checkouts:' || checkout_id || ':started' AS movement_id, 'checkout' AS kind,
           business_date, started_at AS effective_at, recorded_at, event_id, order_id, channel,
           1 AS checkouts
    FROM {{ lake }}.raw_checkouts
    WHERE NOT is_test
    UNION ALL BY NAME
    SELECT 'page_views:' || event_id || '/' || view_date || '/' || channel AS movement_id,
           'traffic' AS kind, business_date, recorded_at, event_id, channel, page_views, visitors
    FROM {{ lake }}.raw_page_views
)
SELECT movement_id, kind, business_date, effective_at, recorded_at, origin_date, e.organizer_id,
       event_id, ticket_type_id, order_id, provider, instrument, channel,
       coalesce(legs.currency, e.currency) AS currency, buyer_key,
       {% for measure in measures -%}
       CAST(coalesce(legs.{{ measure }}, 0) AS BIGINT) AS {{ measure }}{{ "," if not loop.last }}
       {% endfor %}
FROM legs
LEFT JOIN {{ lake }}.raw_events AS e USING (event_id)
