-- Movements of some days that differ between two states of the lake, in each cell they count in, with
-- the change of each measure. A distinct count has 1 where the value that is counted differs.
WITH states AS (
    SELECT -1 AS sign, * FROM movements_then
    WHERE business_date BETWEEN $first AND $last
    UNION ALL BY NAME
    SELECT 1 AS sign, * FROM movements_now
    WHERE business_date BETWEEN $first AND $last
), cells AS (
    SELECT business_date, {{ cell | join(", ") }}, movement_id,
           arg_max(kind, sign) AS kind, arg_max(effective_at, sign) AS effective_at,
           arg_max(recorded_at, sign) AS recorded_at,
           bool_or(sign = 1) AS is_now, bool_or(sign = -1) AS was_then,
           {% for metric in distinct -%}
           CAST(any_value({{ metric.of }}) FILTER (sign = 1 AND {{ metric.where }})
                IS DISTINCT FROM any_value({{ metric.of }}) FILTER (sign = -1 AND {{ metric.where }})
                AS BIGINT) AS {{ metric.name }},
           {% endfor -%}
           {% for measure in measures -%}
           CAST(sum(sign * {{ measure }}) AS BIGINT) AS {{ measure }}{{ "," if not loop.last }}
           {% endfor %}
    FROM states
    WHERE true {%- for column in scope %} AND {{ column }} IS NOT NULL{% endfor %}
    GROUP BY ALL
)
SELECT *,
       CASE WHEN (is_now AND was_then) OR count(*) OVER (PARTITION BY business_date, movement_id, event_id) > 1
            THEN 'changed'
            WHEN is_now THEN 'added'
            ELSE 'removed'
       END AS change
FROM cells
WHERE {% for measure in values %}{{ " OR " if not loop.first }}{{ measure }} <> 0{% endfor %}
