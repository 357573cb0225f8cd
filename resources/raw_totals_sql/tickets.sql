-- What the staged tickets, add-ons and donations say of their days.
SELECT business_date, organizer_id, s.currency,
       count(*) AS rows,
       epoch_us(max(recorded_at)) AS recorded_until,
       count(*) FILTER (
           WHERE is_issued_day AND NOT is_test AND kind = 'admission' AND NOT is_comp
             AND charged_minor > 0
       ) AS tickets_paid,
       count(*) FILTER (
           WHERE is_issued_day AND NOT is_test AND kind = 'admission' AND NOT is_comp
             AND charged_minor = 0
       ) AS tickets_free,
       count(*) FILTER (
           WHERE is_issued_day AND NOT is_test AND kind = 'admission' AND is_comp
       ) AS tickets_comp,
       sum(list_price_minor) FILTER (WHERE is_issued_day AND NOT is_test) AS face_value,
       sum(list_price_minor - charged_minor) FILTER (
           WHERE is_issued_day AND NOT is_test
       ) AS discounts,
       count(*) FILTER (
           WHERE is_cancelled_day AND NOT is_test AND kind = 'admission'
       ) AS tickets_cancelled,
       sum(unsold_minor - retained_fee_minor) FILTER (
           WHERE is_cancelled_day AND NOT is_test
       ) AS sale_reversals
FROM staged AS s
LEFT JOIN known_events AS e USING (event_id)
LEFT JOIN known_ticket_types AS k USING (ticket_type_id)
GROUP BY ALL
