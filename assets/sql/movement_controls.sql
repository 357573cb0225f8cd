-- What the ledger holds, for each day, kind and currency.
SELECT business_date, kind, currency, count(*) AS movements,
       {% for measure in measures -%}
       CAST(sum({{ measure }}) AS BIGINT) AS {{ measure }}{{ "," if not loop.last }}
       {% endfor %}
FROM movements
WHERE business_date BETWEEN $first AND $last
GROUP BY ALL
ORDER BY ALL
