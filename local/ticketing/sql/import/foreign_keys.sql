-- The foreign keys of the platform's tables, to be made again as they were.
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND k.conrelid = ANY(SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
