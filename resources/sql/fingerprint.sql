-- Every total of the days that were read before the source was asked, as the source has it now and as the lake
-- has it. Days that were read later are left out.
SELECT business_date, fact, organizer_id, currency, measure,
       CAST(sum(at_source) AS BIGINT) AS at_source, CAST(sum(in_lake) AS BIGINT) AS in_lake
FROM (
    SELECT business_date, fact, organizer_id, currency, measure, value AS at_source, 0 AS in_lake
    FROM source_now
    UNION ALL
    SELECT business_date, fact, organizer_id, currency, measure, 0 AS at_source, value AS in_lake
    FROM lake.source_totals
    WHERE business_date BETWEEN $first AND $last
)
SEMI JOIN (
    SELECT business_date, fact FROM lake.source_totals
    WHERE business_date BETWEEN $first AND $last AND measure = 'rows' AND source_snapshot_at < $compared_at
) AS earlier USING (business_date, fact)
GROUP BY ALL
