{#- A row of a fact is stored once for each reporting day on which something happened to it, each as
    it was when that day was read. The newest is the one whose day was read last; it alone says which
    event a row belongs to, as an older one may name the event it was moved from. -#}
{% macro newest(fact, key, scoped) -%}
SELECT * FROM (
        {{ newest_of(fact, key, key, _in_scope(fact, key) if scoped else none) }}
    )
    {%- if scoped %}
    WHERE event_id IN (SELECT event_id FROM scope)
    {%- endif %}
{%- endmacro %}

{#- Few rows have several versions, so only those are sorted: a window over every row of a large
    event would need more memory than an export has. -#}
{% macro newest_of(fact, key, column, keys) -%}
SELECT raw.*
        FROM lake.raw_{{ fact }} AS raw
        WHERE raw.{{ key }} NOT IN ({{ _repeated(fact, key, column, keys) }})
        {%- if keys %}
          AND raw.{{ column }} IN ({{ keys }})
        {%- endif %}
        UNION ALL
        SELECT raw.*
        FROM lake.raw_{{ fact }} AS raw
        LEFT JOIN (
            SELECT business_date, source_snapshot_at AS read_at
            FROM lake.source_totals
            WHERE fact = '{{ fact }}' AND measure = 'rows'
        ) AS days USING (business_date)
        WHERE raw.{{ key }} IN ({{ _repeated(fact, key, column, keys) }})
        QUALIFY row_number() OVER (
            PARTITION BY raw.{{ key }}
            ORDER BY days.read_at DESC NULLS LAST, raw.recorded_at DESC, raw.business_date DESC
        ) = 1
{%- endmacro %}

{% macro _repeated(fact, key, column, keys) -%}
SELECT {{ key }}
            FROM lake.raw_{{ fact }}
            {%- if keys %}
            WHERE {{ column }} IN ({{ keys }})
            {%- endif %}
            GROUP BY {{ key }}
            HAVING count(*) > 1
{%- endmacro %}

{% macro _in_scope(fact, key) -%}
SELECT {{ key }} FROM lake.raw_{{ fact }} WHERE event_id IN (SELECT event_id FROM scope)
{%- endmacro %}

{% macro scope() -%}
scope AS (
    SELECT event_id
    FROM lake.raw_events
    WHERE ($organizer_id IS NULL OR organizer_id = $organizer_id)
      AND ($events IS NULL OR list_contains($events, event_id))
)
{%- endmacro %}
