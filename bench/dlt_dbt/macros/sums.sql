{% macro base_measures() %}
  {{ return(['requests', 'checkouts', 'page_views', 'visitors', 'orders', 'free_orders',
    'orders_cancelled', 'orders_expired', 'test_orders', 'tickets_paid', 'tickets_free',
    'tickets_comp', 'tickets_cancelled', 'check_ins', 'face_value', 'discounts', 'buyer_fees', 'tax',
    'sale_reversals', 'payments', 'payments_count', 'refunds', 'refunds_count', 'chargebacks',
    'platform_fees', 'processing_fees']) }}
{% endmacro %}

{# Sums of the measures, and what follows from them. #}
{% macro summed() %}
  {% for name in base_measures() %}cast(coalesce(sum({{ name }}), 0) as bigint) as {{ name }},
  {% endfor %}
{% endmacro %}

{% macro derived() %}
  orders - free_orders as paid_orders,
  tickets_paid + tickets_free + tickets_comp as tickets_sold,
  face_value - discounts as ticket_revenue,
  face_value - discounts + buyer_fees + tax as gross_revenue,
  face_value - discounts + buyer_fees + tax - sale_reversals as net_sales,
  payments - refunds - chargebacks as net_collected,
  payments - refunds - chargebacks - platform_fees - processing_fees as organizer_net
{% endmacro %}

{# Weeks or months: the days summed, buyers counted anew. #}
{% macro rolled_up(unit) %}
with summed as (
    select cast(date_trunc('{{ unit }}', business_date) as date) as {{ unit }}_start, organizer_id,
           event_id, currency, {{ summed() }}
    from {{ ref('daily_metrics') }}
    group by all
),
buyers as (
    select cast(date_trunc('{{ unit }}', business_date) as date) as {{ unit }}_start, event_id,
           count(distinct buyer) as buyers
    from {{ ref('facts') }}
    where orders = 1
    group by all
)
select s.*, coalesce(b.buyers, 0) as buyers, {{ derived() }}
from summed as s
left join buyers as b using ({{ unit }}_start, event_id)
{% endmacro %}
