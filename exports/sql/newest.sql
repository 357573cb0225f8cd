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

{% macro newest_of(fact, key, column, keys) -%}
SELECT raw.*
        FROM lake.raw_{{ fact }} AS raw
        LEFT JOIN (
            SELECT business_date, source_snapshot_at AS read_at
            FROM lake.source_totals
            WHERE fact = '{{ fact }}' AND measure = 'rows'
        ) AS days USING (business_date)
        {%- if keys %}
        WHERE raw.{{ column }} IN ({{ keys }})
        {%- endif %}
        QUALIFY row_number() OVER (
            PARTITION BY raw.{{ key }}
            ORDER BY days.read_at DESC NULLS LAST, raw.recorded_at DESC, raw.business_date DESC
        ) = 1
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
