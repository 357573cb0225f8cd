{%- from "newest.sql" import newest, newest_of -%}
WITH tickets AS (
    {{ newest("tickets", "ticket_id", scoped, between) }}
)
{%- if with_holders %},
attendees AS (
    {{ newest_of("attendees", "ticket_id", "ticket_id", scoped, between) }}
)
{%- endif %}
SELECT t.ticket_id, t.order_id, t.event_id, e.name AS event_name, e.organizer_id,
       o.name AS organizer_name, t.ticket_type_id, y.name AS ticket_type_name,
       y.kind AS ticket_type_kind,
       CASE WHEN t.cancelled_at IS NULL THEN 'issued' ELSE 'cancelled' END AS status,
       {%- if with_holders %}
       a.attendee_name, a.attendee_email, a.attendee_phone,
       {%- if keyed %}
       CAST(buyer_key(e.organizer_id, coalesce(nullif(lower(trim(a.attendee_email)), ''),
                                               nullif(trim(a.attendee_phone), ''))) AS VARCHAR)
           AS attendee_key,
       {%- endif %}
       coalesce(a.contact_consent, false) AS contact_consent,
       {%- endif %}
       {%- if with_scans %}
       s.checked_in_at IS NOT NULL AS checked_in, s.checked_in_at,
       {%- endif %}
       t.list_price_minor AS list_price, t.charged_minor AS charged, t.currency, t.is_comp,
       t.issued_at, t.cancelled_at, t.is_test, t.recorded_at
FROM tickets AS t
{%- if with_holders %}
LEFT JOIN attendees AS a ON a.ticket_id = t.ticket_id
{%- endif %}
{%- if with_scans %}
LEFT JOIN (
    FROM scans
    {%- if between %}
    WHERE ticket_id BETWEEN {{ between[0] }} AND {{ between[1] }}
    {%- endif %}
) AS s ON s.ticket_id = t.ticket_id
{%- endif %}
LEFT JOIN lake.raw_ticket_types AS y ON y.ticket_type_id = t.ticket_type_id
LEFT JOIN lake.raw_events AS e ON e.event_id = t.event_id
LEFT JOIN lake.raw_organizers AS o ON o.organizer_id = e.organizer_id
WHERE ($include_test OR NOT t.is_test)
  AND ($ticket_types IS NULL OR list_contains($ticket_types, t.ticket_type_id))
  AND ($kinds IS NULL OR list_contains($kinds, y.kind))
  AND ($sold_from IS NULL OR t.issued_at >= $sold_from)
  AND ($sold_until IS NULL OR t.issued_at < $sold_until)
  {%- if with_scans %}
  AND ($checked_in IS NULL OR (s.checked_in_at IS NOT NULL) = $checked_in)
  {%- endif %}
  AND ($status IS NULL
       OR list_contains($status,
                        CASE WHEN t.cancelled_at IS NULL THEN 'issued' ELSE 'cancelled' END))
