-- How many events had an order on some days, by currency.
SELECT currency, count(*) AS events
FROM (
    SELECT DISTINCT currency, event_id
    FROM reporting.daily_metrics
    WHERE business_date BETWEEN %(first)s AND %(last)s AND orders > 0
) AS sold
GROUP BY currency
