"""The commands ``simulate`` and ``migrate``: what they change, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from local.ticketing.seed import seed
from pipelines.cli import app
from pipelines.settings import Settings
from tests.deployment import Deployment


def run(monkeypatch: pytest.MonkeyPatch, settings: Settings, *command: str) -> tuple[int, str]:
    monkeypatch.setattr("pipelines.settings.get_settings", lambda: settings)
    result = CliRunner().invoke(app, list(command))
    return result.exit_code, result.output


def test_simulate_writes_as_many_orders_as_asked_and_says_what_it_wrote(
    fresh_database: Callable[..., str],
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = fresh_database("ticketing")
    settings = make_settings(source_owner_url=url)
    code, output = run(monkeypatch, settings, "simulate", "--orders", "5")
    assert (code, "seed it first" in output) == (1, True)
    seed(url, orders=1_000, until=datetime.now(UTC), months=2)
    code, output = run(
        monkeypatch, settings, "simulate", "--orders", "5", "--speed", "60", "--for", "60"
    )
    assert (code, " 5 orders" in output) == (0, True), output
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchall() == [(1_005,)]


def test_commands_that_write_to_the_source_need_its_owner(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(source_owner_url=None)
    for command in (["simulate"], ["import", "."]):
        code, output = run(monkeypatch, settings, *command)
        assert (code, "BOXOFFICE_SOURCE_OWNER_URL is not set" in output) == (1, True)


def test_migrate_makes_the_tables_and_can_be_repeated(
    make_deployment: Callable[..., Deployment],
    fresh_database: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warehouse = fresh_database("boxoffice_owner")
    settings = make_deployment().settings.model_copy(
        update={"warehouse_owner_url": SecretStr(warehouse)}
    )
    for _ in range(2):
        code, output = run(monkeypatch, settings, "migrate")
        assert code == 0, output
    with psycopg.connect(warehouse) as connection:
        made = connection.execute("SELECT to_regclass('reporting.daily_metrics') IS NOT NULL")
        assert made.fetchall() == [(True,)]
