-- Sums of the ledger of some days, in the shape of the source's own totals.
UNPIVOT (
    SELECT business_date, organizer_id, currency,
           {% for measure in measures -%}
           CAST(sum({{ measure }}) AS BIGINT) AS {{ measure }}{{ "," if not loop.last }}
           {% endfor %}
    FROM movements
    WHERE business_date IN (SELECT unnest(CAST($days AS DATE[])))
    GROUP BY ALL
) ON {{ measures | join(", ") }} INTO NAME measure VALUE value
