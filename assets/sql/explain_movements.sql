-- The movements behind one published value, each with what it contributes.
SELECT movement_id, kind, business_date, effective_at, recorded_at, order_id, ticket_type_id,
       provider, instrument, channel,
       CAST({{ contribution }} AS BIGINT) AS contribution,
       {{ terms | join(", ") }}
FROM movements
WHERE business_date BETWEEN $first AND $last AND event_id = $event_id AND currency = $currency
  {% for column, is_given in scope -%}
  AND {{ column }} {{ "= $" ~ column if is_given else "IS NOT NULL" }}
  {% endfor -%}
  AND ({{ terms | join(" <> 0 OR ") }} <> 0)
ORDER BY effective_at NULLS FIRST, movement_id
