-- Connections a role may hold at once; -1: as many as it likes.
SELECT rolconnlimit FROM pg_roles WHERE rolname = %(role)s
