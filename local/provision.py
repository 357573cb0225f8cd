"""Databases and roles inside the embedded Postgres.

Belongs here: who owns which database, and who may connect. Does not belong here: tables and the
rights on them (the sample platform's schema, ``warehouse/migrations``).
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import psycopg
from psycopg import sql

from local.servers import EmbeddedPostgres

_SOURCE_READER_SQL = Path(__file__).parent / "sql" / "source_reader.sql"
_ADHOC_ROLE_SQL = Path(__file__).parent / "sql" / "adhoc_role.sql"
_WAREHOUSE_ROLES_SQL = Path(__file__).parent / "sql" / "warehouse_roles.sql"

OWNERS = {
    "ticketing": "ticketing",
    "lake": "boxoffice_lake",
    "warehouse": "boxoffice_owner",
    "dagster": "dagster",
}
CONNECTS = {
    "ticketing": ["boxoffice_source_reader"],
    "warehouse": ["boxoffice_publisher", "boxoffice_reader", "boxoffice_adhoc"],
}


def provision(postgres: EmbeddedPostgres) -> dict[str, str]:
    """Create roles and databases where missing; a second call changes nothing.

    Returns:
        The ``BOXOFFICE_*`` variables of every part kept in this server.
    """
    passwords = role_passwords(postgres)
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        for role, password in passwords.items():
            _ensure_role(connection, role, password)
        connection.execute(_WAREHOUSE_ROLES_SQL.read_bytes())
        for database, owner in OWNERS.items():
            ensure_database(connection, database, owner)
            for role in CONNECTS.get(database, []):
                connection.execute(
                    sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                        sql.Identifier(database), sql.Identifier(role)
                    )
                )
    with psycopg.connect(postgres.url("ticketing")) as connection:
        connection.execute(_SOURCE_READER_SQL.read_bytes())
    with psycopg.connect(postgres.url("warehouse")) as connection:
        connection.execute(_ADHOC_ROLE_SQL.read_bytes())

    def url(database: str, role: str) -> str:
        return postgres.url(database, role, passwords[role])

    return {
        "BOXOFFICE_SOURCE_URL": url("ticketing", "boxoffice_source_reader"),
        "BOXOFFICE_SOURCE_OWNER_URL": url("ticketing", "ticketing"),
        "BOXOFFICE_LAKE_CATALOG_URL": url("lake", "boxoffice_lake"),
        "BOXOFFICE_WAREHOUSE_URL": url("warehouse", "boxoffice_publisher"),
        "BOXOFFICE_WAREHOUSE_OWNER_URL": url("warehouse", "boxoffice_owner"),
        "BOXOFFICE_WAREHOUSE_READER_URL": url("warehouse", "boxoffice_reader"),
        "BOXOFFICE_WAREHOUSE_ADHOC_URL": url("warehouse", "boxoffice_adhoc"),
        "BOXOFFICE_DAGSTER_URL": url("dagster", "dagster").replace(
            "postgresql://", "postgresql+psycopg2://", 1
        ),
    }


def role_passwords(postgres: EmbeddedPostgres) -> dict[str, str]:
    """Return the roles' passwords; made at random once and kept beside the data (mode 600)."""
    path = postgres.root / f"{postgres.name}.roles.json"
    passwords: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    roles = {*OWNERS.values(), *(role for roles in CONNECTS.values() for role in roles)}
    if missing := roles - passwords.keys():
        passwords |= {role: secrets.token_hex(24) for role in sorted(missing)}
        path.touch(mode=0o600)
        path.write_text(json.dumps(passwords, indent=1))
    return passwords


def ensure_database(
    connection: psycopg.Connection[tuple[object, ...]], name: str, owner: str
) -> None:
    """Create the database if it is missing; only its owner and named roles may connect."""
    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
    if found is None:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(owner)
            )
        )
    connection.execute(
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
    )


def _ensure_role(
    connection: psycopg.Connection[tuple[object, ...]], role: str, password: str
) -> None:
    found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    verb = sql.SQL("ALTER" if found else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
            verb, sql.Identifier(role), sql.Literal(password)
        )
    )
