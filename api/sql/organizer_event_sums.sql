-- Metrics of an event over a range of days, by currency and what else is asked for. The event is
-- looked up first: of one that is foreign or absent not a row is touched.
SELECT currency
    {%- for name in by %}, {{ name }}{% endfor %}
    {%- for metric in metrics %}, sum({{ metric }})::bigint AS {{ metric }}{% endfor %}
FROM reporting.{{ dataset }}
WHERE event_id = (
        SELECT event_id FROM reporting.event_summary
        WHERE event_id = %(event)s
          AND (%(organizer)s::bigint IS NULL OR organizer_id = %(organizer)s)
    )
  AND business_date BETWEEN %(first)s AND %(last)s
GROUP BY currency
    {%- for name in by %}, {{ name }}{% endfor %}
ORDER BY currency
    {%- for name in by %}, {{ name }}{% endfor %}
