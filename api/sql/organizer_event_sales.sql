-- Metrics of an event by period and currency, and by ticket type where asked for. What was before
-- the first period is in rows without one. The event is looked up first: of one that is foreign or
-- absent not a row is touched.
SELECT CASE WHEN {{ column }} >= %(first)s THEN {{ period }} END AS period, currency
    {%- if has_types %}, ticket_type_id,
       (array_agg(ticket_type_name ORDER BY business_date DESC))[1] AS ticket_type_name,
       (array_agg(ticket_type_kind ORDER BY business_date DESC))[1] AS ticket_type_kind
    {%- endif %}
    {%- for metric in metrics %}, sum({{ metric }})::bigint AS {{ metric }}{% endfor %}
FROM reporting.{{ dataset }}
WHERE event_id = (
        SELECT event_id FROM reporting.event_summary
        WHERE event_id = %(event)s
          AND (%(organizer)s::bigint IS NULL OR organizer_id = %(organizer)s)
    )
  AND {{ column }} <= %(last)s
GROUP BY 1, currency{% if has_types %}, ticket_type_id{% endif %}
ORDER BY 1 NULLS FIRST
