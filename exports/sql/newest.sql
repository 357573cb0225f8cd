{#- A row of a fact is stored once for each reporting day on which something happened to it, each as
    it was when that day was read. The newest is the one whose day was read last; it alone says which
    event a row belongs to, as an older one may name the event it was moved from. -#}

{#- Every stored version of the chosen rows. Two scans: one whose condition has an OR would read the
    wide columns of every event. -#}
{% macro versions(fact, link, scoped, columns, between=none) -%}
SELECT {{ columns }}
        FROM lake.raw_{{ fact }}
        {%- if scoped %}
        SEMI JOIN scope USING (event_id)
        {%- endif %}
        {{- _within(link, between) }}
        {%- if scoped %}
        UNION ALL
        SELECT {{ columns }}
        FROM lake.raw_{{ fact }}
        ANTI JOIN scope USING (event_id)
        SEMI JOIN strays_{{ fact }} USING ({{ link }})
        {{- _within(link, between) }}
        {%- endif %}
{%- endmacro %}

{#- The newest version of the rows that belong to the events asked for. -#}
{% macro newest(fact, key, scoped, between) -%}
SELECT *
    FROM lake.raw_{{ fact }}
    {%- if scoped %}
    SEMI JOIN scope USING (event_id)
    {%- endif %}
    ANTI JOIN superseded_{{ fact }} USING ({{ key }}, business_date)
    {{- _within(key, between) }}
{%- endmacro %}

{#- The newest version of the chosen rows, whatever event they name. -#}
{% macro newest_of(fact, key, link, scoped, between=none) -%}
SELECT *
    FROM (
        {{ versions(fact, link, scoped, "*", between) }}
    )
    ANTI JOIN superseded_{{ fact }} USING ({{ key }}, business_date)
{%- endmacro %}

{% macro _within(key, between) -%}
{%- if between %}
        WHERE {{ key }} BETWEEN {{ between[0] }} AND {{ between[1] }}
{%- endif %}
{%- endmacro %}

{% macro scope() -%}
scope AS (
    SELECT event_id
    FROM lake.raw_events
    WHERE ($organizer_id IS NULL OR organizer_id = $organizer_id)
      AND ($events IS NULL OR list_contains($events, event_id))
)
{%- endmacro %}
