-- Metrics of an event by currency, and by ticket type where asked for: what was before the first
-- period, and of the periods and of every metric the values as one text, in one order for all. The
-- event is looked up first: of one that is foreign or absent not a row is touched.
SELECT currency
    {%- if has_types %}, ticket_type_id,
       (array_agg(ticket_type_name ORDER BY period DESC NULLS LAST))[1] AS ticket_type_name,
       (array_agg(ticket_type_kind ORDER BY period DESC NULLS LAST))[1] AS ticket_type_kind
    {%- endif %}
    {%- for metric in metrics %},
       coalesce(sum({{ metric }}) FILTER (WHERE period IS NULL), 0)::bigint
    {%- endfor %},
       string_agg(period::text, ',')
    {%- for metric in metrics %},
       string_agg({{ metric }}::text, ',') FILTER (WHERE period IS NOT NULL)
    {%- endfor %}
FROM (
    SELECT CASE WHEN {{ column }} >= %(first)s THEN {{ period }} END AS period, currency
        {%- if has_types %}, ticket_type_id,
           (array_agg(ticket_type_name ORDER BY business_date DESC))[1] AS ticket_type_name,
           (array_agg(ticket_type_kind ORDER BY business_date DESC))[1] AS ticket_type_kind
        {%- endif %}
        {%- for metric in metrics %}, sum({{ metric }}) AS {{ metric }}{% endfor %}
    FROM reporting.{{ dataset }}
    WHERE event_id = (
            SELECT event_id FROM reporting.event_summary
            WHERE event_id = %(event)s
              AND (%(organizer)s::bigint IS NULL OR organizer_id = %(organizer)s)
        )
      AND {{ column }} <= %(last)s
    GROUP BY 1, currency{% if has_types %}, ticket_type_id{% endif %}
) AS periods
GROUP BY currency{% if has_types %}, ticket_type_id{% endif %}
