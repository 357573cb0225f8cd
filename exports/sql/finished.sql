{%- set by_day = "starting" if period in ("week", "month") else "days" -%}
SELECT t.*, s.event_name, s.organizer_name
FROM warehouse.reporting.{{ table }} AS t
LEFT JOIN warehouse.reporting.event_summary AS s ON s.event_id = t.event_id
WHERE ($organizer_id IS NULL OR t.organizer_id = $organizer_id)
  AND ($events IS NULL OR list_contains($events, t.event_id))
  AND ($currencies IS NULL OR list_contains($currencies, t.currency))
  AND (${{ by_day }}_first IS NULL OR t.{{ day }} >= ${{ by_day }}_first)
  AND (${{ by_day }}_last IS NULL OR t.{{ day }} <= ${{ by_day }}_last)
  {%- if table == "daily_payments" %}
  AND ($providers IS NULL OR list_contains($providers, t.provider))
  AND ($instruments IS NULL OR list_contains($instruments, t.instrument))
  {%- elif table == "daily_ticket_types" %}
  AND ($ticket_types IS NULL OR list_contains($ticket_types, t.ticket_type_id))
  AND ($kinds IS NULL OR list_contains($kinds, t.ticket_type_kind))
  {%- endif %}
