-- How each market pays: 100 slots per market, so that a percentile of a draw finds the method.
-- processing fees are parts per million of the amount.
WITH mix AS (
    SELECT * FROM (VALUES
        ('MPESA', 'mpesa', 10000,        52,  2, 42,  4),
        ('PESAPAL', 'mpesa', 29000,       5,  2,  8,  2),
        ('PESAPAL', 'airtel', 29000,      4, 46, 16,  2),
        ('PESAPAL', 'visa', 35000,        8, 14,  8, 20),
        ('PESAPAL', 'mastercard', 35000,  4,  8,  5, 12),
        ('PESAPAL', 'bank', 15000,        2,  6,  4,  4),
        ('PAYHERO', 'mpesa', 15000,       6,  1,  3,  1),
        ('PAYHERO', 'airtel', 15000,      3,  8,  4,  1),
        ('CARD', 'visa', 34000,           9,  8,  6, 32),
        ('CARD', 'mastercard', 34000,     5,  3,  2, 20),
        ('CASH', 'cash', 0,               2,  2,  2,  2)
    ) AS m (provider, instrument, fee_ppm, ke, ug, tz, us)
), long AS (
    UNPIVOT mix ON ke, ug, tz, us INTO NAME market VALUE percent
), ranges AS (
    SELECT upper(market) AS market, provider, instrument, fee_ppm, percent,
           sum(percent) OVER (PARTITION BY market ORDER BY provider, instrument) - percent AS first_slot
    FROM long
)
SELECT market, (first_slot + i)::BIGINT AS percentile, provider, instrument, fee_ppm
FROM ranges, unnest(range(percent)) AS r (i)
ORDER BY market, percentile
