-- Tickets whose newest version counts; shares nothing with the rows' statement but the condition of a search.
{%- from "newest.sql" import scope %}
{%- from "latest.sql" import latest, of_latest %}
WITH {{ scope() }},
{{ latest("tickets", "ticket_id", scoped) }},
found AS (
    SELECT n.ticket_id, n.event_id, n.order_id, n.currency, n.list_price_minor AS list_price,
           n.charged_minor AS charged, y.name AS ticket_type_name
    FROM {{ of_latest("tickets", "ticket_id", scoped) }}
    LEFT JOIN lake.raw_ticket_types AS y ON y.ticket_type_id = n.ticket_type_id
    WHERE n.business_date = coalesce(latest_date, n.business_date)
      AND ($include_test OR NOT n.is_test)
      AND ($ticket_types IS NULL OR list_contains($ticket_types, n.ticket_type_id))
      AND ($kinds IS NULL OR list_contains($kinds, y.kind))
      AND ($sold_from IS NULL OR n.issued_at >= $sold_from)
      AND ($sold_until IS NULL OR n.issued_at < $sold_until)
      AND ($status IS NULL
           OR list_contains($status, CASE WHEN n.cancelled_at IS NULL THEN 'issued' ELSE 'cancelled' END))
      AND ($checked_in IS NULL
           OR (n.ticket_id IN (SELECT c.ticket_id FROM lake.raw_check_ins AS c)) = $checked_in)
)
{%- if search %},
holders AS (
    SELECT a.ticket_id, a.attendee_name, a.attendee_email, a.attendee_phone, a.contact_consent
    FROM lake.raw_attendees AS a
    LEFT JOIN lake.source_totals AS d
        ON d.business_date = a.business_date AND d.fact = 'attendees' AND d.measure = 'rows'
    ORDER BY d.source_snapshot_at DESC NULLS LAST, a.recorded_at DESC, a.business_date DESC
),
searched AS (
    SELECT DISTINCT ON (ticket_id) ticket_id, attendee_name, attendee_email, attendee_phone,
           contact_consent
    FROM holders
)
{%- endif %}
SELECT currency{{ ", event_id" if by_event }}, count(*) AS row_count, sum(list_price) AS list_price, sum(charged) AS charged
FROM found
{%- if search %}
LEFT JOIN searched USING (ticket_id)
WHERE {{ search }}
{%- endif %}
GROUP BY currency{{ ", event_id" if by_event }}
