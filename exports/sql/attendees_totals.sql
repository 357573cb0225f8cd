-- Tickets grouped by their key; shares nothing with the rows' statement but the condition of a search.
{%- from "newest.sql" import scope %}
WITH {{ scope() }},
latest AS (
    -- One number orders the versions: what is kept of each ticket has a fixed size and can be spilled.
    SELECT ticket_id,
           max_by(r.business_date,
                  (1::HUGEINT << 68) * coalesce(epoch_us(d.source_snapshot_at), 0)
                  + (1::HUGEINT << 16) * epoch_us(r.recorded_at)
                  + (r.business_date - DATE '1970-01-01')) AS business_date
    FROM lake.raw_tickets AS r
    LEFT JOIN lake.source_totals AS d
        ON d.business_date = r.business_date AND d.fact = 'tickets' AND d.measure = 'rows'
    {%- if scoped %}
    SEMI JOIN (FROM lake.raw_tickets SEMI JOIN scope USING (event_id)) AS own
        ON own.ticket_id = r.ticket_id
    {%- endif %}
    GROUP BY ticket_id
),
found AS (
    SELECT t.ticket_id, t.event_id, t.order_id, t.currency, t.list_price_minor AS list_price,
           t.charged_minor AS charged, y.name AS ticket_type_name
    FROM lake.raw_tickets AS t
    JOIN latest USING (ticket_id, business_date)
    LEFT JOIN lake.raw_ticket_types AS y ON y.ticket_type_id = t.ticket_type_id
    WHERE ($include_test OR NOT t.is_test)
      {%- if scoped %}
      AND t.event_id IN (SELECT event_id FROM scope)
      {%- endif %}
      AND ($ticket_types IS NULL OR list_contains($ticket_types, t.ticket_type_id))
      AND ($kinds IS NULL OR list_contains($kinds, y.kind))
      AND ($sold_from IS NULL OR t.issued_at >= $sold_from)
      AND ($sold_until IS NULL OR t.issued_at < $sold_until)
      AND ($status IS NULL
           OR list_contains($status, CASE WHEN t.cancelled_at IS NULL THEN 'issued' ELSE 'cancelled' END))
      AND ($checked_in IS NULL
           OR (t.ticket_id IN (SELECT c.ticket_id FROM lake.raw_check_ins AS c)) = $checked_in)
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
