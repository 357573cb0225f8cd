-- Admissions already gone per event still to come, so that nothing is sold beyond the capacity.
SELECT * FROM postgres_query('platform', $$
    SELECT t.event_id, count(*) AS held
    FROM tickets t JOIN ticket_types y USING (ticket_type_id) JOIN events e ON e.event_id = t.event_id
    WHERE y.kind = 'admission' AND t.status = 'issued' AND e.status IN ('draft', 'on_sale')
    GROUP BY t.event_id $$)
