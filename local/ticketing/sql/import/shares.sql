-- What is un-sold with each cancelled ticket where the file does not say: its share of the order's total by
-- charged price. Differences of running totals, so that the shares of a whole order add up to its total.
CREATE TEMP TABLE import_shares ON COMMIT DROP AS
SELECT ticket_id,
       coalesce(unsold_minor, CASE WHEN charged = 0 THEN 0 ELSE
           div(total * upto, charged) - div(total * (upto - charged_minor), charged) END) AS unsold_minor
FROM (
    SELECT t.ticket_id, t.unsold_minor, t.charged_minor, t.cancelled_at,
           sum(t.charged_minor) OVER lines AS upto, sum(t.charged_minor) OVER whole AS charged,
           coalesce(o.total_minor, sum(t.charged_minor) OVER whole - coalesce(o.discount_minor, 0)
                    + coalesce(o.buyer_fees_minor, 0) + coalesce(o.tax_minor, 0)) AS total
    FROM import_tickets AS t JOIN import_orders AS o USING (order_id)
    WHERE order_id IN (SELECT order_id FROM import_tickets WHERE cancelled_at IS NOT NULL)
    WINDOW whole AS (PARTITION BY order_id), lines AS (PARTITION BY order_id ORDER BY ticket_id)
) AS priced
WHERE cancelled_at IS NOT NULL
