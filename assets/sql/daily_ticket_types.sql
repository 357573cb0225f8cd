-- What was sold, cancelled and scanned, by ticket type.
SELECT m.business_date, m.organizer_id, m.event_id, m.currency, m.ticket_type_id,
       t.name AS ticket_type_name, t.kind AS ticket_type_kind,
       {{ metrics }}
FROM movements AS m
LEFT JOIN lake.raw_ticket_types AS t USING (ticket_type_id)
WHERE m.business_date BETWEEN $first AND $last
  AND m.kind IN ('sale_line', 'ticket_cancelled', 'check_in')
GROUP BY ALL
ORDER BY {{ grain }}
