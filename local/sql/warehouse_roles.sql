-- What only a superuser can give the warehouse's roles; run it before `boxoffice migrate`. Safe to
-- repeat. The publisher passes by row-level security because COPY is refused under it; what it may
-- write is what it was granted. The reader has a role for each scope and must name one with SET ROLE:
-- without one it sees no row.
DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY[
        'boxoffice_publisher', 'boxoffice_reader',
        'boxoffice_organizer_reader', 'boxoffice_admin_reader'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;
    ALTER ROLE boxoffice_publisher BYPASSRLS;
    GRANT boxoffice_organizer_reader, boxoffice_admin_reader TO boxoffice_reader
        WITH INHERIT FALSE, SET TRUE;
END $$;
