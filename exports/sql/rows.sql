-- The chosen columns of a dataset's rows, masked, in their one order; ratios are computed of the row.
{%- from "ratio.sql" import ratio %}
{%- if into %}
{{ into }}
{%- endif %}
SELECT
{%- for column in columns %}
       {{ ratio(column.ratio, currencies if column.of_money else none) if column.ratio
          else masked[column.name] }} AS {{ column.name }}
       {{- "," if not loop.last }}
{%- endfor %}
{%- if event %},
       found.{{ event }}
{%- endif %}
{%- if into %}
  {%- for column in order %},
       found.{{ column }} AS order_{{ loop.index }}
  {%- endfor %}
{%- endif %}
FROM (
{{ relation }}
) AS found
{%- if search %}
WHERE {{ search }}
{%- endif %}
{%- if not into %}
ORDER BY {% for column in order %}found.{{ column }}{{ ", " if not loop.last }}{% endfor %}
{%- endif %}
