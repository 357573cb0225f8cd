"""Series as they are written, from kept sums too, are what adding up the rows comes to."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

import psycopg
import pytest
from pydantic_core import to_json

from api.answers import average, series
from api.app import Services
from api.periods import Coverage, Granularity, Periods, read_covered, read_series, table_of
from api.principal import Principal
from api.publications import Partition, Shelf
from api.written import Line, by_currency, lines_by_currency, table, write
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
UPDATE reporting.daily_metrics SET currency = 'KWD' WHERE event_id = 122;
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
        publish_day(made, date(2026, 3, day), {120: amount, 121: 3 * amount, 122: amount, 130: 5})
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


async def _both(
    services: Services, principal: Principal, periods: Periods, asked: dict[str, int]
) -> tuple[Any, Any]:
    """Series as they are written, and from every row of the events."""
    async with services.database.reading(principal, (periods.dataset,)) as read:
        query = by_currency(periods, METRICS, asked)
        rows, coverage = await read_covered(read, query, periods, periods.dataset)
        lines = lines_by_currency(rows, has_rank=True)
        written = write(coverage, METRICS, lines, quotients=("aov",))
    async with services.database.reading(principal, (periods.dataset,)) as read:
        rows, coverage = await read_series(
            read,
            "metrics_by_period",
            periods,
            blocks={"metrics": METRICS, "filters": tuple(asked)},
            parameters=asked,
        )
    wanted = series(coverage, rows, METRICS)
    for rank, one in enumerate(wanted, 1):
        one["rank"] = rank
        for values in (one["totals"], *one["points"]):
            gross = values["gross_revenue"]
            minor = None if gross is None else gross["minor"]
            values["aov"] = average(minor, values["paid_orders"], one["currency"])
    assert len(table(written)) == len(wanted) * len(periods.starts)
    return json.loads(written.text), json.loads(to_json(wanted))


@pytest.mark.parametrize("role", [Role.ORGANIZER, Role.ADMIN])
def test_series_of_any_days_equal_the_sums_of_their_rows(settings: Settings, role: Role) -> None:
    principal = Principal("a@b", role, MINE if role is Role.ORGANIZER else None)
    days = [date(2026, 2, 27) + timedelta(days=n) for n in range(12)]

    async def run(client: Any) -> None:
        services: Services = client.app.state.services
        for first, length in product(days, (1, 2, 5, 10)):
            periods = Periods("daily", first, first + timedelta(days=length - 1))
            for asked in ({}, {"organizer_id": MINE}, {"event_id": 120}):
                found, wanted = await _both(services, principal, periods, asked)
                assert found == wanted, (periods, asked)

    with_client(settings, run)


def test_amounts_are_decimals_of_their_currency_and_what_is_not_loaded_is_null(
    settings: Settings,
) -> None:
    principal = Principal("a@b", Role.ORGANIZER, MINE)
    periods = Periods("daily", date(2026, 2, 27), date(2026, 3, 8))

    async def run(client: Any) -> tuple[Any, Any]:
        services: Services = client.app.state.services
        return await _both(services, principal, periods, {"organizer_id": MINE})

    found, _ = with_client(settings, run)
    assert [one["currency"] for one in found] == ["JPY", "KES", "KWD"]
    decimals = [
        [point["net_sales"] and point["net_sales"]["decimal"] for point in one["points"]]
        for one in found
    ]
    assert decimals == [
        [None, None, "0", "21", "0", "300", "37035", None, "3", None],
        [None, None, "0.00", "0.07", "0.00", "1.00", "123.45", None, "0.01", None],
        [None, None, "0.000", "0.007", "0.000", "0.100", "12.345", None, "0.001", None],
    ]
    points = found[1]["points"]
    assert points[5]["organizer_net"]["decimal"] == "-202.50"
    assert points[5]["aov"] == {"minor": 100, "decimal": "1.00", "numerator": 100, "denominator": 1}
    # Nothing was sold on the 3rd, on the 5th nothing was paid for; the 6th is not loaded.
    assert points[4]["aov"] == {"minor": None, "decimal": None, "numerator": 0, "denominator": 0}
    assert points[6]["aov"]["minor"] is None
    assert points[7]["aov"] is None


def test_only_what_is_kept_is_read_from_kept_sums() -> None:
    first, last = date(2026, 3, 1), date(2026, 3, 31)

    def source(granularity: Granularity, *columns: str) -> str:
        return table_of(Periods(granularity, first, last), columns)[0]

    assert source("daily") == source("daily", "organizer_id", "currency") == "ops.organizer_days"
    assert source("daily", "event_id") == "reporting.daily_metrics"
    assert source("weekly") == "reporting.weekly_revenue"
    assert source("monthly", "organizer_id") == "reporting.monthly_revenue"


def test_sums_so_far_carry_over_periods_without_rows_and_not_into_what_is_not_loaded() -> None:
    at = datetime(2026, 3, 9, tzinfo=UTC)
    days = [date(2026, 3, n) for n in (1, 2, 3, 4)]
    known = {str(day): Partition(True, False, at) for day in (days[0], days[1], days[3])}
    coverage = Coverage(
        Periods("daily", days[0], days[3]),
        "daily_metrics",
        Shelf(None, known, None, at, frozenset()),
        frozenset(),
    )
    line = Line.of({}, "KES", ["2026-03-04,2026-03-01", "5,7"], [100])
    has_all = [True, True, False, False]
    [found] = json.loads(write(coverage, ("refunds",), [line], has_all=has_all).text)
    points = found["points"]
    assert [p["refunds"] and p["refunds"]["minor"] for p in points] == [7, 0, None, 5]
    so_far = [p["cumulative"]["refunds"] for p in points]
    assert [value and value["decimal"] for value in so_far] == ["1.07", "1.07", None, "1.12"]
    assert [p["is_cumulative_complete"] for p in points] == has_all
    assert found["totals"]["refunds"]["minor"] == 12


def test_an_organizer_is_not_shown_the_days_of_another(settings: Settings) -> None:
    principal = Principal("a@b", Role.ORGANIZER, MINE)
    periods = Periods("daily", date(2026, 3, 1), date(2026, 3, 2))

    async def run(client: Any) -> tuple[Any, Any]:
        services: Services = client.app.state.services
        other = await _both(services, principal, periods, {"organizer_id": MINE + 1})
        everything = await _both(services, principal, periods, {})
        return other[0], [one["totals"]["gross_revenue"]["minor"] for one in everything[0]]

    other, sums = with_client(settings, run)
    assert other == []
    assert sums == [21, 7, 7], "and not the 10 of the other organizer"
