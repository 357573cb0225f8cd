{#- How totals find the newest version of a row; shares nothing with newest.sql, which the rows are
    read with. What is kept of each key has a fixed size and can be spilled. -#}
{% macro latest(fact, key, scoped) -%}
several AS (
    SELECT {{ key }}
    FROM lake.raw_{{ fact }}
    {%- if scoped %}
    WHERE {{ key }} IN (SELECT own.{{ key }} FROM lake.raw_{{ fact }} AS own SEMI JOIN scope USING (event_id))
    {%- endif %}
    GROUP BY {{ key }}
    HAVING min(business_date) < max(business_date)
),
latest AS (
    -- One number orders the versions.
    SELECT r.{{ key }},
           max_by(r.business_date,
                  (1::HUGEINT << 68) * coalesce(epoch_us(d.source_snapshot_at), 0)
                  + (1::HUGEINT << 16) * epoch_us(r.recorded_at)
                  + (r.business_date - DATE '1970-01-01')) AS latest_date
    FROM lake.raw_{{ fact }} AS r
    SEMI JOIN several ON several.{{ key }} = r.{{ key }}
    LEFT JOIN lake.source_totals AS d
        ON d.business_date = r.business_date AND d.fact = '{{ fact }}' AND d.measure = 'rows'
    GROUP BY r.{{ key }}
)
{%- endmacro %}

{#- The rows of a fact, each in its newest version, as ``n``. -#}
{% macro of_latest(fact, key, scoped) -%}
lake.raw_{{ fact }} AS n
LEFT JOIN latest USING ({{ key }})
{%- if scoped %}
SEMI JOIN scope ON scope.event_id = n.event_id
{%- endif %}
{%- endmacro %}
