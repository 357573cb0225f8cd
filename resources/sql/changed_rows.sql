-- Rows of a fact that the platform wrote at or after an instant, the oldest write first. Instants far outside of
-- any calendar are left out: they belong to no reporting day.
SELECT {{ keys | join(", ") }},
{%- for day in instants %}
       CASE WHEN {{ day }} >= TIMESTAMPTZ '0002-01-01' AND {{ day }} < TIMESTAMPTZ '9999-01-01' THEN {{ day }} END AS {{ day }},
{%- endfor %}
       recorded_at
FROM (
{{ statement }}
) AS fact
WHERE recorded_at >= %(since)s AND recorded_at < TIMESTAMPTZ '9999-01-01'
{%- for day in dates %}
  AND {{ day }} >= DATE '0002-01-01' AND {{ day }} < DATE '9999-01-01'
{%- endfor %}
{%- if after %}
  AND (recorded_at, {{ keys | join(", ") }}) > ({{ after | join(", ") }})
{%- endif %}
ORDER BY recorded_at, {{ keys | join(", ") }}
LIMIT %(limit)s
