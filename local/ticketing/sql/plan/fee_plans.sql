-- One plan per organizer and currency it sells in; a quarter were renegotiated in the middle.
WITH sellers AS (
    SELECT organizer_id, currency, least(min(created_at), getvariable('until')) AS since FROM event GROUP BY ALL
), plans AS (
    SELECT *, 0 AS version, since - hours(48) AS valid_from FROM sellers
    UNION ALL
    SELECT *, 1, getvariable('first_instant')
                 + floor((getvariable('until') - getvariable('first_instant')) * (0.3 + 0.4 * u('fee change', organizer_id)))::BIGINT
    FROM sellers WHERE u('fee changed', organizer_id) < 0.25
)
SELECT row_number() OVER (ORDER BY organizer_id, currency, version) AS fee_plan_id, organizer_id, valid_from,
       between_by(50, 120, u('fee rate', organizer_id * 10 + version)) * 500 AS rate_ppm,
       between_by(4, 10, u('fee per ticket', organizer_id * 10 + version))
           * CASE currency WHEN 'KES' THEN 500 WHEN 'UGX' THEN 150 WHEN 'TZS' THEN 10000 ELSE 9 END AS per_ticket_minor,
       currency, valid_from AS updated_at
FROM plans
ORDER BY fee_plan_id
