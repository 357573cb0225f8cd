-- Moves the loaded tables from the loading schema to the target schema in one statement, with the
-- rights that tables created there by this role would have. %(...)s are filled in by seed.
DO $adopt$
DECLARE
    loaded record;
    entry record;
BEGIN
    FOR loaded IN SELECT c.oid::regclass AS name, c.relname FROM pg_class c
                  WHERE c.relnamespace = {loading}::regnamespace AND c.relkind = 'r'
    LOOP
        EXECUTE format('DROP TABLE IF EXISTS %I.%I CASCADE', {target}, loaded.relname);
        EXECUTE format('ALTER TABLE %s SET SCHEMA %I', loaded.name, {target});
        FOR entry IN SELECT a.grantee, a.privilege_type FROM pg_default_acl d, aclexplode(d.defaclacl) a
                     WHERE d.defaclobjtype = 'r' AND d.defaclrole = current_user::regrole
                       AND d.defaclnamespace = {target}::regnamespace
        LOOP
            EXECUTE format('GRANT %s ON %I.%I TO %s', entry.privilege_type, {target}, loaded.relname,
                           CASE WHEN entry.grantee = 0 THEN 'PUBLIC' ELSE entry.grantee::regrole::text END);
        END LOOP;
    END LOOP;
END
$adopt$;
