"""Migrations of the warehouse.

Belongs here: bringing the ``reporting`` and ``ops`` schemas to the newest revision. Does not belong
here: the revisions themselves (``warehouse/migrations``) or the lake's tables (``resources.lake``).
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config


def engine(url: str) -> sa.Engine:
    """SQLAlchemy engine for a ``postgresql://`` URL, through psycopg 3; keeps no connection."""
    psycopg_url = sa.make_url(url).set(drivername="postgresql+psycopg")
    return sa.create_engine(psycopg_url, poolclass=sa.NullPool)


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def upgrade(owner_url: str) -> None:
    """Migrate to the newest revision; one transaction, so a failure changes nothing.

    Args:
        owner_url: ``postgresql://`` URL of the role that owns the schemas.
    """
    with engine(owner_url).begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('boxoffice migrate'))"))
        connection.execute(sa.text("CREATE SCHEMA IF NOT EXISTS ops"))
        command.upgrade(_config(connection), "head")


def check(owner_url: str) -> None:
    """Raise ``alembic.util.CommandError`` where the database differs from ``warehouse.tables``."""
    with engine(owner_url).begin() as connection:
        command.check(_config(connection))
