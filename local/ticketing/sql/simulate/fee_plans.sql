-- Fee plans in force, and a free one for an organizer that has none in a currency it sells in.
SELECT fee_plan_id, organizer_id, currency, epoch_us(valid_from) AS valid_from, rate_ppm, per_ticket_minor FROM platform.fee_plans
UNION ALL
SELECT DISTINCT 0, organizer_id, currency, 0, 0, 0 FROM event ANTI JOIN platform.fee_plans AS f USING (organizer_id, currency)
