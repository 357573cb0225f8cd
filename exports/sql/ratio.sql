{#- A quotient with 4 places, rounded half away from zero in whole numbers: DuckDB divides decimals in
    floating point. Of money it is in the currency's major unit. -#}
{% macro ratio(of, currencies) -%}
{%- set n, d = "CAST(found." ~ of.numerator ~ " AS HUGEINT)", "CAST(found." ~ of.denominator ~ " AS HUGEINT)" -%}
CAST(sign({{ n }}) * ((2 * abs({{ n }}) * {{ scale(currencies) }} + {{ d }}) // nullif(2 * {{ d }}, 0))
            AS DECIMAL(34, 0)) * CAST(0.0001 AS DECIMAL(4, 4))
{%- endmacro %}

{% macro scale(currencies) -%}
{%- if currencies -%}
CASE {% for places, codes in currencies.items() -%}
WHEN found.currency IN ('{{ codes | join("', '") }}') THEN {{ 10 ** (4 - places) }} {% endfor %}END
{%- else -%}
10000
{%- endif -%}
{%- endmacro %}
