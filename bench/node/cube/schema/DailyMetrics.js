const sums = ['orders','paid_orders','tickets_sold','face_value','discounts','ticket_revenue','buyer_fees','tax','gross_revenue','sale_reversals','net_sales','payments','refunds','chargebacks','net_collected','platform_fees','processing_fees','organizer_net'];
cube('DailyMetrics', {
  sql: 'SELECT * FROM reporting.daily_metrics',
  measures: Object.fromEntries(sums.map((n) => [n, { sql: n, type: 'sum' }])),
  dimensions: {
    organizer_id: { sql: 'organizer_id', type: 'number' },
    currency: { sql: 'currency', type: 'string' },
    business_date: { sql: 'business_date::timestamp', type: 'time' },
  },
});
