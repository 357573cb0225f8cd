-- What the pipeline may do at the source: read, for a bounded time. Run in the source database by
-- a superuser, after the roles ticketing and boxoffice_source_reader exist.
ALTER ROLE boxoffice_source_reader SET default_transaction_read_only = on;
ALTER ROLE boxoffice_source_reader SET statement_timeout = '15min';
GRANT CONNECT ON DATABASE ticketing TO boxoffice_source_reader;
GRANT USAGE ON SCHEMA public TO boxoffice_source_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO boxoffice_source_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE ticketing IN SCHEMA public
    GRANT SELECT ON TABLES TO boxoffice_source_reader;
