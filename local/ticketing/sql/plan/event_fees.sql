-- The platform's fee for each event before and after the organizer's plan changed, one row per event.
SELECT e.event_id,
       arg_min(f.rate_ppm, f.valid_from) AS old_rate_ppm, arg_min(f.per_ticket_minor, f.valid_from) AS old_per_ticket,
       max(f.valid_from) AS changed_at,
       arg_max(f.rate_ppm, f.valid_from) AS new_rate_ppm, arg_max(f.per_ticket_minor, f.valid_from) AS new_per_ticket
FROM event AS e JOIN fee_plans AS f USING (organizer_id, currency)
GROUP BY e.event_id
