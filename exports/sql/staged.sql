-- What was staged part by part, in its one order.
SELECT {% for column in columns %}{{ column.name }}, {% endfor %}{% if event %}{{ event }}, {% endif %}
FROM staged
ORDER BY {% for column in order %}order_{{ loop.index }}{{ ", " if not loop.last }}{% endfor %}
