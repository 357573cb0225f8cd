-- Movements whose event or ticket type is not in the catalogue, by day and kind.
SELECT business_date, kind, count(*) AS movements
FROM movements
WHERE business_date BETWEEN $first AND $last
  AND (organizer_id IS NULL
       OR (ticket_type_id IS NOT NULL
           AND ticket_type_id NOT IN (SELECT ticket_type_id FROM lake.raw_ticket_types)))
GROUP BY ALL
ORDER BY ALL
