-- Rows of a file whose order is missing, was refused, or is another event's or currency's.
INSERT INTO import_refused (file, line, column_name, value, reason, detail, key)
SELECT {file}, s.line, 'order_id', s.order_id::text,
       CASE WHEN r.line IS NULL THEN 'is not in orders.csv; add it there or correct it'
            ELSE 'belongs to a refused row of orders.csv; correct that one' END,
       'line ' || r.line, s.{key}
FROM {staged} AS s
LEFT JOIN import_orders AS o ON o.order_id = s.order_id
LEFT JOIN (SELECT key, min(line) AS line FROM import_refused WHERE file = 'orders.csv' GROUP BY key) AS r
    ON r.key = s.order_id
WHERE o.order_id IS NULL
UNION ALL
SELECT {file}, s.line, 'event_id', s.event_id::text, 'is not the event of its order',
       'which is ' || o.event_id, s.{key}
FROM {staged} AS s JOIN import_orders AS o USING (order_id)
WHERE s.event_id <> o.event_id
UNION ALL
SELECT {file}, s.line, 'currency', s.currency, 'is not the currency of its order',
       'which is ' || o.currency, s.{key}
FROM {staged} AS s JOIN import_orders AS o USING (order_id)
WHERE s.currency <> o.currency AND coalesce(s.event_id, o.event_id) = o.event_id
