-- What the role of ad-hoc SQL may use. Run in the warehouse by a superuser after the role
-- boxoffice_adhoc exists; again after a change here. Its rights on tables are the migrations'.
ALTER ROLE boxoffice_adhoc NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT
    CONNECTION LIMIT 4;
ALTER ROLE boxoffice_adhoc SET default_transaction_read_only = on;
ALTER ROLE boxoffice_adhoc SET search_path = pg_catalog, pg_temp;
ALTER ROLE boxoffice_adhoc SET statement_timeout = '30s';
ALTER ROLE boxoffice_adhoc SET transaction_timeout = '40s';
ALTER ROLE boxoffice_adhoc SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE boxoffice_adhoc SET lock_timeout = '2s';
ALTER ROLE boxoffice_adhoc SET work_mem = '16MB';
ALTER ROLE boxoffice_adhoc SET hash_mem_multiplier = 1;
ALTER ROLE boxoffice_adhoc SET max_parallel_workers_per_gather = 0;
ALTER ROLE boxoffice_adhoc SET jit = off;
-- Only a superuser may set it, so the role cannot undo it.
ALTER ROLE boxoffice_adhoc SET temp_file_limit = '256MB';
-- The two things that PUBLIC may write in every database: large objects and messages in the WAL.
REVOKE EXECUTE ON FUNCTION lo_create(oid), lo_creat(integer), lo_from_bytea(oid, bytea),
    lo_open(oid, integer), lo_put(oid, bigint, bytea), lowrite(integer, bytea), lo_unlink(oid),
    lo_truncate(integer, integer), lo_truncate64(integer, bigint),
    pg_logical_emit_message(boolean, text, text, boolean),
    pg_logical_emit_message(boolean, text, bytea, boolean) FROM PUBLIC;
