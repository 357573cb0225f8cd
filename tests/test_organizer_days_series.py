"""An organizer's days as they are written are what the series of any other endpoint would be."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import psycopg
import pytest
from pydantic_core import to_json

from api.answers import average, series
from api.app import Services
from api.organizer_days import read_organizer_days
from api.periods import Periods, read_series
from api.principal import Principal
from exports.masking import Role
from pipelines.settings import Settings
from tests.api_client import MINE, api_settings, publish_day, with_client

METRICS = ("orders", "paid_orders", "gross_revenue", "net_sales", "refunds", "organizer_net")
AMOUNTS = {1: 0, 2: 7, 3: 99, 4: 100, 5: 12_345, 7: 1}
EDITS = """
UPDATE reporting.daily_metrics SET refunds = 250 + 5000 * extract(day FROM business_date)::bigint,
    net_collected = -250 - 5000 * extract(day FROM business_date)::bigint,
    organizer_net = -250 - 5000 * extract(day FROM business_date)::bigint
WHERE business_date >= '2026-03-04';
UPDATE reporting.daily_metrics SET currency = 'JPY' WHERE event_id = 121;
UPDATE reporting.daily_metrics SET orders = 0, paid_orders = 0, free_orders = 0
WHERE business_date = '2026-03-05';
DELETE FROM reporting.daily_metrics WHERE business_date = '2026-03-03' AND organizer_id = 12;
"""


@pytest.fixture(scope="module")
def settings(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> Settings:
    made = api_settings(make_settings, fresh_database, role_url)
    for day, amount in AMOUNTS.items():
        publish_day(made, date(2026, 3, day), {120: amount, 121: 3 * amount, 130: 5})
    assert made.warehouse_owner_url is not None
    with psycopg.connect(made.warehouse_owner_url.get_secret_value()) as connection:
        for table in connection.execute(
            b"SELECT conname FROM pg_constraint WHERE contype = 'c'"
            b" AND conrelid = 'reporting.daily_metrics'::regclass"
        ).fetchall():
            connection.execute(
                f"ALTER TABLE reporting.daily_metrics DROP CONSTRAINT {table[0]}".encode()
            )
        connection.execute(EDITS.encode())
    return made


@pytest.mark.parametrize("role", [Role.ORGANIZER, Role.ADMIN])
def test_days_that_are_written_equal_days_that_are_added_up(settings: Settings, role: Role) -> None:
    principal = Principal("a@b", role, MINE if role is Role.ORGANIZER else None)
    periods = Periods("daily", date(2026, 2, 27), date(2026, 3, 8))

    async def ask(services: Services) -> tuple[Any, Any]:
        async with services.database.reading(principal, ("daily_metrics",)) as read:
            written = await read_organizer_days(
                read,
                MINE,
                periods,
                METRICS,
                quotients=("aov",),
                head=lambda number: {"rank": number},
            )
            table = written.table()
        async with services.database.reading(principal, ("daily_metrics",)) as read:
            rows, coverage = await read_series(
                read,
                "metrics_by_period",
                periods,
                blocks={"metrics": METRICS, "filters": ("organizer_id",)},
                parameters={"organizer_id": MINE},
            )
        wanted = series(coverage, rows, METRICS)
        for one in wanted:
            for values in (one["totals"], *one["points"]):
                values["aov"] = _aov(values, one["currency"])
        assert len(table) == 2 * len(periods.starts)
        assert written.currencies == ("JPY", "KES")
        return json.loads(written.data.text), json.loads(to_json(wanted))

    async def run(client: Any) -> tuple[Any, Any]:
        return await ask(client.app.state.services)

    found, wanted = with_client(settings, run)
    assert [one.pop("rank") for one in found] == [1, 2]
    assert found == wanted
    decimals = [
        point["net_sales"] and point["net_sales"]["decimal"] for point in wanted[1]["points"]
    ]
    assert decimals == [None, None, "0.00", "0.07", "0.00", "1.00", "123.45", None, "0.01", None]
    assert wanted[1]["points"][5]["organizer_net"]["decimal"] == "-202.50"


def _aov(values: Any, currency: str) -> Any:
    if values["net_sales"] is None:
        return None
    return average(values["gross_revenue"]["minor"], values["paid_orders"], currency)


def test_an_absent_organizer_has_no_series(settings: Settings) -> None:
    async def run(client: Any) -> Any:
        services: Services = client.app.state.services
        principal = Principal("a@b", Role.ORGANIZER, MINE)
        periods = Periods("daily", date(2026, 3, 1), date(2026, 3, 2))
        async with services.database.reading(principal, ("daily_metrics",)) as read:
            return await read_organizer_days(read, MINE + 1, periods, METRICS)

    assert json.loads(with_client(settings, run).data.text) == []
