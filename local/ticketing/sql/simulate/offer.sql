-- The events on sale now as a range of [0, 1) each, wide if the event is big or near.
WITH weighed AS (
    SELECT event_id, capacity - coalesce(held, 0) AS places,
           1 + floor(sqrt(capacity) * (20 + 200 * exp(-greatest(starts_at - getvariable('until'), 0) / 86400e6 / 10)))::BIGINT AS weight
    FROM event LEFT JOIN held USING (event_id)
    WHERE status = 'on_sale' AND sells_admissions AND cancelled_at IS NULL AND on_sale_at <= getvariable('placed_from')
      AND ends_at > getvariable('until') AND capacity - coalesce(held, 0) >= 10
), ranged AS (
    SELECT *, sum(weight) OVER (ORDER BY event_id) AS upto, sum(weight) OVER () AS total FROM weighed
)
SELECT event_id, places, (upto - weight) / total AS low, upto / total AS high FROM ranged ORDER BY event_id
