-- The chosen columns of a dataset's rows, masked, in their one order.
SELECT {{ columns | join(", ") }}
FROM (
{{ relation }}
) AS found
{%- if search %}
WHERE {{ search }}
{%- endif %}
ORDER BY {% for column in order %}found.{{ column }}{{ ", " if not loop.last }}{% endfor %}
