"""Postgres as DuckDB reaches it: by a secret, because DuckDB repeats a URL in its error messages.

Belongs here: attaching a database so that its password is in no message, and text literals. Does
not belong here: which database, or what is read there.
"""

from __future__ import annotations

import duckdb
from psycopg.conninfo import conninfo_to_dict, make_conninfo

_SECRET = {
    "host": "HOST",
    "port": "PORT",
    "dbname": "DATABASE",
    "user": "USER",
    "password": "PASSWORD",
}
"""Parts of a URL that a secret holds; the others, such as ``sslmode``, stay with the name."""


def attach_postgres(connection: duckdb.DuckDBPyConnection, url: str, name: str) -> None:
    """Attach a Postgres database under a name, to be read.

    Raises:
        duckdb.IOException: it cannot be reached; says where, without user or password.
    """
    others = create_postgres_secret(connection, url, name)
    connection.execute(
        f"ATTACH {quote(others)} AS {name} (TYPE postgres, READ_ONLY, SECRET {name}_login)"
    )


def create_postgres_secret(connection: duckdb.DuckDBPyConnection, url: str, name: str) -> str:
    """Keep the login of a ``postgresql://`` URL as the secret ``<name>_login``.

    Returns:
        What else the URL says, as libpq's keywords and values.
    """
    parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    login = [f"{_SECRET[key]} {quote(parts.pop(key))}" for key in _SECRET if key in parts]
    options = ", ".join(["TYPE postgres", *login])
    connection.execute(f"CREATE OR REPLACE SECRET {name}_login ({options})")
    return make_conninfo("", **parts)


def quote(text: str) -> str:
    """A text literal."""
    return "'" + text.replace("'", "''") + "'"
