-- Money in and out, by provider and instrument.
SELECT business_date, organizer_id, event_id, currency, provider, instrument,
       {{ metrics }}
FROM movements
WHERE business_date BETWEEN $first AND $last
  AND kind IN ('payment', 'refund', 'dispute_withdrawn', 'dispute_reinstated')
GROUP BY ALL
ORDER BY {{ grain }}
