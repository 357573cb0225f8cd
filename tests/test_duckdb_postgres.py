"""Errors of DuckDB about Postgres say where it is, and never how to log in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from urllib.parse import quote

import duckdb
import psycopg
import pytest
from psycopg import sql

from assets.ledger import ledger_session
from local import ports
from metrics.calendar import DayRange
from resources.duckdb_postgres import attach_postgres
from resources.fingerprint import take_fingerprint
from resources.source import Source
from tests.conftest import Servers
from tests.deployment import Deployment

LOGIN = "reader_of_odd_password"
PASSWORD = "p'w@s:s / \\ word=%"
DAY = DayRange("UTC", date(2026, 1, 1), date(2026, 1, 1))


@pytest.fixture(scope="module")
def deployment(make_deployment: Callable[..., Deployment]) -> Deployment:
    return make_deployment()


def lake_away(deployment: Deployment, away: str) -> None:
    with replace(deployment.lake, catalog_url=away).session():
        pass


def source_away(deployment: Deployment, away: str) -> None:
    take_fingerprint(deployment.lake, Source(away, "x"), DAY, {})


def warehouse_away(deployment: Deployment, away: str) -> None:
    with ledger_session(deployment.lake, away):
        pass


@pytest.mark.parametrize("read", [lake_away, source_away, warehouse_away])
def test_a_database_that_is_away_is_reported_without_its_login(
    deployment: Deployment, read: Callable[[Deployment, str], None]
) -> None:
    port = ports.choose(29997)
    away = f"postgresql://{LOGIN}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/there"
    with pytest.raises(duckdb.Error, match=str(port)) as raised:
        read(deployment, away)
    for secret in (PASSWORD, quote(PASSWORD, safe=""), PASSWORD.replace("'", "''"), LOGIN):
        assert secret not in str(raised.value)


def test_a_password_of_any_characters_and_an_option_of_the_url_arrive(
    servers: Servers, deployment: Deployment
) -> None:
    role = sql.Identifier(LOGIN)
    with psycopg.connect(servers.postgres.url(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(PASSWORD))
        )
        try:
            url = servers.postgres.url("postgres", LOGIN, PASSWORD) + "?application_name=odd"
            with deployment.lake.session() as session:
                attach_postgres(session, url, "source")
                asked = "SELECT current_user::text, current_setting(''application_name'')"
                found = session.execute(f"FROM postgres_query('source', '{asked}')").fetchall()
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(role))
    assert found == [(LOGIN, "odd")]
