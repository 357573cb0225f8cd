-- Events of which a day is published; a day without a movement is a row of zeros.
WITH sums AS (
    SELECT organizer_id, event_id, currency, min(business_date) AS first_day,
           max(business_date) AS last_day
           {%- for column in summed %},
           CAST(sum({{ column }}) AS BIGINT) AS {{ column }}
           {%- endfor %}
    FROM warehouse.reporting.daily_metrics
    WHERE ($organizer_id IS NULL OR organizer_id = $organizer_id)
      AND ($events IS NULL OR list_contains($events, event_id))
      AND ($currencies IS NULL OR list_contains($currencies, currency))
      AND ($days_first IS NULL OR business_date >= $days_first)
      AND ($days_last IS NULL OR business_date <= $days_last)
    GROUP BY ALL
)
SELECT sums.*, s.event_name, s.organizer_name
FROM sums
LEFT JOIN warehouse.reporting.event_summary AS s ON s.event_id = sums.event_id
