-- Every fact with its reporting day, one signed column per measure.
{{ config(materialized='view') }}
{% set tz = "'" ~ env_var('BENCH_TIME_ZONE') ~ "'" %}
with kinds as (
    select ticket_type_id, kind = 'admission' as is_admission from raw.ticket_types
),
facts as (
    select cast(timezone({{ tz }}, placed_at) as date) as business_date, event_id, 1 as requests
    from raw.orders where placed_at is not null and not is_test
    union all by name
    select cast(timezone({{ tz }}, completed_at) as date) as business_date, event_id, 1 as orders,
           cast(total_minor = 0 as integer) as free_orders, discount_minor as discounts,
           buyer_fees_minor as buyer_fees, tax_minor as tax, platform_fee_minor as platform_fees,
           coalesce(nullif(lower(trim(buyer_email)), ''), nullif(trim(buyer_phone), ''),
                    'account:' || customer_id) as buyer
    from raw.orders where completed_at is not null and not is_test
    union all by name
    select cast(timezone({{ tz }}, completed_at) as date) as business_date, event_id,
           1 as test_orders
    from raw.orders where completed_at is not null and is_test
    union all by name
    select cast(timezone({{ tz }}, cancelled_at) as date) as business_date, event_id,
           1 as orders_cancelled
    from raw.orders where cancelled_at is not null and not is_test
    union all by name
    select cast(timezone({{ tz }}, expired_at) as date) as business_date, event_id,
           1 as orders_expired
    from raw.orders where expired_at is not null and not is_test
    union all by name
    select cast(timezone({{ tz }}, issued_at) as date) as business_date, event_id,
           cast(is_admission and not is_comp and charged_minor > 0 as integer) as tickets_paid,
           cast(is_admission and not is_comp and charged_minor = 0 as integer) as tickets_free,
           cast(is_admission and is_comp as integer) as tickets_comp,
           list_price_minor as face_value, list_price_minor - charged_minor as discounts
    from raw.tickets join kinds using (ticket_type_id) where not is_test
    union all by name
    select cast(timezone({{ tz }}, cancelled_at) as date) as business_date, event_id,
           cast(is_admission as integer) as tickets_cancelled,
           unsold_minor - retained_fee_minor as sale_reversals
    from raw.tickets join kinds using (ticket_type_id)
    where cancelled_at is not null and not is_test
    union all by name
    select cast(timezone({{ tz }}, confirmed_at) as date) as business_date, event_id,
           amount_minor as payments, 1 as payments_count, processing_fee_minor as processing_fees
    from raw.payments where not is_test
    union all by name
    select cast(timezone({{ tz }}, succeeded_at) as date) as business_date, event_id,
           amount_minor as refunds, 1 as refunds_count,
           -platform_fee_returned_minor as platform_fees,
           -processing_fee_returned_minor as processing_fees
    from raw.refunds where not is_test
    union all by name
    select cast(timezone({{ tz }}, withdrawn_at) as date) as business_date, event_id,
           amount_minor as chargebacks, fee_minor as processing_fees
    from raw.disputes where not is_test
    union all by name
    select cast(timezone({{ tz }}, reinstated_at) as date) as business_date, event_id,
           -amount_minor as chargebacks
    from raw.disputes where reinstated_at is not null and not is_test
    union all by name
    select cast(timezone({{ tz }}, scanned_at) as date) as business_date, event_id,
           cast(is_admission as integer) as check_ins
    from raw.check_ins join kinds using (ticket_type_id) where not is_test
    union all by name
    select cast(timezone({{ tz }}, started_at) as date) as business_date, event_id, 1 as checkouts
    from raw.checkouts where not is_test
    union all by name
    select view_date as business_date, event_id, page_views, visitors
    from raw.page_views
)
select f.*, e.organizer_id, e.currency
from facts as f
join raw.events as e using (event_id)
where business_date between date '{{ env_var("BENCH_FIRST") }}' and date '{{ env_var("BENCH_LAST") }}'
