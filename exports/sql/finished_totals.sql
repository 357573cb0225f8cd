-- The published table summed as it stands.
{%- set by_day = "starting" if period in ("week", "month") else "days" %}
SELECT currency{{ ", event_id" if by_event }}, count(*) AS row_count
       {%- for column in summed %}, sum({{ column }}) AS {{ column }}{% endfor %}
FROM warehouse.reporting.{{ table }}
WHERE {{ day }} BETWEEN coalesce(${{ by_day }}_first, DATE '0001-01-01')
                    AND coalesce(${{ by_day }}_last, DATE '9999-12-31')
  AND organizer_id = coalesce($organizer_id, organizer_id)
  AND (list_contains($events, event_id) OR $events IS NULL)
  AND (list_contains($currencies, currency) OR $currencies IS NULL)
  {%- if table == "daily_payments" %}
  AND (list_contains($providers, provider) OR $providers IS NULL)
  AND (list_contains($instruments, instrument) OR $instruments IS NULL)
  {%- elif table == "daily_ticket_types" %}
  AND (list_contains($ticket_types, ticket_type_id) OR $ticket_types IS NULL)
  AND (list_contains($kinds, ticket_type_kind) OR $kinds IS NULL)
  {%- endif %}
GROUP BY currency{{ ", event_id" if by_event }}
