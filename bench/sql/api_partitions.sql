-- Each period's publication, complete and final but for the newest ones.
WITH published AS (
    INSERT INTO ops.publications (dataset, partition_key, data_version, input_version, attempt,
        lake_snapshot, source_watermark, is_complete, run_id, code_version, row_count,
        control_sums)
    SELECT %(dataset)s, key, md5(key), 1, nextval('ops.attempts'), 1, now(), true, 'bench',
           'bench', 1, '{}'
    FROM (SELECT DISTINCT {{ key }} AS key FROM reporting.{{ dataset }}) AS k
    ORDER BY key
    RETURNING *
)
INSERT INTO ops.partitions (dataset, partition_key, publication_id, data_version, input_version,
    attempt, lake_snapshot, source_watermark, is_complete, run_id, code_version, checked_at,
    final_at)
SELECT dataset, partition_key, publication_id, data_version, input_version, attempt,
       lake_snapshot, source_watermark, is_complete, run_id, code_version, now(),
       CASE WHEN partition_key < %(final_until)s THEN now() END
FROM published
