-- Days of facts that the lake has never read, with the rows that the source has of them.
SELECT business_date, fact, value AS at_source
FROM source_now
ANTI JOIN (
    SELECT business_date, fact FROM lake.source_totals
    WHERE business_date BETWEEN $first AND $last AND measure = 'rows'
) AS known USING (business_date, fact)
WHERE measure = 'rows'
ORDER BY business_date, fact
