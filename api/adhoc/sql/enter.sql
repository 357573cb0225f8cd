-- What the text means and how values are written must not depend on how a database or role is
-- configured; the last four are what this connection may do that it should not.
SELECT
    set_config('statement_timeout', %(statement_timeout)s, true),
    set_config('transaction_timeout', %(transaction_timeout)s, true),
    set_config('lock_timeout', %(lock_timeout)s, true),
    set_config('idle_in_transaction_session_timeout', %(transaction_timeout)s, true),
    set_config('search_path', 'pg_catalog, pg_temp', true),
    set_config('standard_conforming_strings', 'on', true),
    set_config('transform_null_equals', 'off', true),
    set_config('TimeZone', %(time_zone)s, true),
    set_config('DateStyle', 'ISO, YMD', true),
    set_config('IntervalStyle', 'iso_8601', true),
    set_config('extra_float_digits', '1', true),
    set_config('max_parallel_workers_per_gather', '0', true),
    set_config('jit', 'off', true),
    (
        SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
        FROM pg_roles WHERE rolname = current_user
    )
    OR has_database_privilege(current_database(), 'TEMP')
    OR has_database_privilege(current_database(), 'CREATE') AS is_powerful,
    current_setting('temp_file_limit') = '-1'
    OR (SELECT rolconnlimit = -1 FROM pg_roles WHERE rolname = current_user) AS is_unlimited,
    ARRAY(
        SELECT nspname::text FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', %(schema)s)
            AND has_schema_privilege(oid, 'USAGE')
        ORDER BY nspname
    ) AS other_schemas,
    ARRAY(
        SELECT relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE nspname = %(schema)s AND relkind IN ('r', 'p', 'v', 'f')
            AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, MAINTAIN')
        ORDER BY relname
    ) AS writable
