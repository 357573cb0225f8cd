{%- from "newest.sql" import scope -%}
WITH {{ scope() }}
SELECT m.* REPLACE (CAST(m.buyer_key AS VARCHAR) AS buyer_key), e.name AS event_name,
       o.name AS organizer_name
FROM lake.movements AS m
LEFT JOIN lake.raw_events AS e ON e.event_id = m.event_id
LEFT JOIN lake.raw_organizers AS o ON o.organizer_id = e.organizer_id
WHERE ($days_first IS NULL OR m.business_date >= $days_first)
  {%- if between %}
  AND m.business_date BETWEEN DATE '{{ between[0] }}' AND DATE '{{ between[1] }}'
  {%- endif %}
  AND ($days_last IS NULL OR m.business_date <= $days_last)
  AND ($kinds IS NULL OR list_contains($kinds, m.kind))
  AND ($currencies IS NULL OR list_contains($currencies, m.currency))
  {%- if scoped %}
  AND m.event_id IN (SELECT event_id FROM scope)
  {%- endif %}
