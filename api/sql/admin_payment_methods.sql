-- Money in and out by payment provider and instrument, of days added up to days, weeks or months.
WITH sums AS (
    SELECT date_trunc('{{ unit }}', business_date)::date AS period, currency, provider, instrument
        {%- for metric in metrics %}, sum({{ metric }})::bigint AS {{ metric }}{% endfor %}
    FROM reporting.daily_payments
    WHERE business_date BETWEEN %(first)s AND %(last)s
        {%- for name in filters %} AND {{ name }} = %({{ name }}_asked)s{% endfor %}
    GROUP BY 1, 2, 3, 4
),
ranked AS (
    SELECT currency, provider, instrument, count(*) OVER () AS groups,
           row_number() OVER (
               ORDER BY currency, sum(payments) DESC, provider, instrument
           ) AS rank
    FROM sums GROUP BY currency, provider, instrument
)
SELECT s.*, r.rank, r.groups
FROM ranked AS r JOIN sums AS s USING (currency, provider, instrument)
WHERE r.rank > %(offset)s AND r.rank <= %(offset)s + %(limit)s
