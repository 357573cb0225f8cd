"""The simulated platform goes on like a live one and keeps every rule."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from local.ticketing import simulate as simulation
from local.ticketing.invariants import violations
from local.ticketing.seed import seed
from local.ticketing.simulate import SimulationReport, simulate
from tests.conftest import Servers

UNTIL = datetime(2025, 6, 15, 11, 0, tzinfo=UTC)


class Clock:
    """A wall clock that advances by a fixed step whenever it is read."""

    def __init__(self, start: datetime, step: timedelta) -> None:
        self.now = start
        self.step = step

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


def value(url: str, query: str, *parameters: object) -> Any:
    with psycopg.connect(url) as connection:
        return connection.execute(query, parameters or None).fetchall()[0][0]  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def make_platform(servers: Servers, fresh_database: Callable[..., str]) -> Callable[[], str]:
    """Return a function that copies a platform of 2,000 orders seeded once."""
    template = fresh_database("ticketing")
    seed(template, orders=2_000, until=UNTIL, months=3)
    source = template.rsplit("/", 1)[1]
    numbers = itertools.count()

    def make() -> str:
        name = f"{source}_{next(numbers)}"
        with psycopg.connect(servers.postgres.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER ticketing").format(
                    sql.Identifier(name), sql.Identifier(source)
                )
            )
        return template.replace(source, name)

    return make


@pytest.fixture(scope="module")
def lived(make_platform: Callable[[], str]) -> tuple[str, SimulationReport, dict[str, int]]:
    """A platform that lived for some hours, its report, and rows per table before."""
    url = make_platform()
    tables = ("orders", "tickets", "payments", "refunds", "disputes", "check_ins", "checkouts")
    before = {table: value(url, f"SELECT count(*) FROM {table}") for table in tables}
    clock = Clock(UNTIL, timedelta(minutes=30))
    report = simulate(url, orders=600, rate=3, tick_seconds=0.001, clock=clock)
    return url, report, before


Lived = tuple[str, SimulationReport, dict[str, int]]


def test_every_rule_holds_after_every_tick(make_platform: Callable[[], str]) -> None:
    url = make_platform()
    broken: list[dict[str, int]] = []

    def check(report: SimulationReport) -> None:
        broken.append(violations(url, report.last_instant))

    clock = Clock(UNTIL, timedelta(minutes=10))
    simulate(url, orders=200, rate=4, tick_seconds=0.001, clock=clock, on_tick=check)
    assert len(broken) >= 5
    assert [found for found in broken if found] == []


def test_the_report_counts_what_was_added(lived: Lived) -> None:
    url, report, before = lived
    assert report.counts["orders"] == 600
    for table in ("orders", "tickets", "payments", "checkouts"):
        added = value(url, f"SELECT count(*) FROM {table}") - before[table]
        assert added == report.counts[table] > 0, table
    assert violations(url, report.last_instant) == {}


def test_open_orders_complete_or_lapse(lived: Lived) -> None:
    url, report, _ = lived
    assert report.counts["orders settled"] > 50
    fresh = "FROM orders WHERE placed_at > %s"
    completed = value(url, f"SELECT count(completed_at) {fresh}", UNTIL)
    assert 0.75 * 600 < completed <= 600
    overdue = report.last_instant - timedelta(hours=40)
    assert (
        value(
            url, "SELECT count(*) FROM orders WHERE status = 'pending' AND placed_at < %s", overdue
        )
        == 0
    )


def test_past_sales_change_with_updated_at_as_the_only_trace_of_when(lived: Lived) -> None:
    url, report, before = lived
    for kind in (
        "cancellations",
        "pay_refunds",
        "correct_refunds",
        "correct_payments",
        "disputes",
        "reinstatements",
    ):
        assert report.counts[kind] > 0, kind
    assert value(url, "SELECT count(*) FROM refunds") > before["refunds"]
    corrected = value(
        url,
        "SELECT count(*) FROM refunds WHERE updated_at > %s"
        " AND succeeded_at < updated_at - interval '1 day'",
        UNTIL,
    )
    assert corrected > 0
    fees = value(
        url,
        "SELECT count(*) FROM payments WHERE updated_at > %s AND confirmed_at < %s",
        UNTIL,
        UNTIL - timedelta(hours=20),
    )
    assert fees > 0


def test_gates_scan_tickets_and_the_web_counts_views(lived: Lived) -> None:
    url, report, before = lived
    assert (
        value(url, "SELECT count(*) FROM check_ins") - before["check_ins"]
        == (report.counts["check_ins"])
    )
    assert report.counts["check_ins"] > 0
    assert value(url, "SELECT count(*) FROM page_views WHERE updated_at > %s", UNTIL) > 0


def test_nothing_is_stamped_after_the_present_and_speed_only_scales_the_rate(
    make_platform: Callable[[], str],
) -> None:
    url = make_platform()
    clock = Clock(UNTIL, timedelta(seconds=1))
    report = simulate(url, orders=60, rate=30, speed=60, tick_seconds=0.001, clock=clock)
    assert report.last_instant <= clock.now
    assert report.last_instant - UNTIL < timedelta(seconds=20)
    assert violations(url, report.last_instant) == {}


def test_ahead_continues_from_the_databases_last_instant(
    make_platform: Callable[[], str],
) -> None:
    url = make_platform()
    last = value(url, "SELECT max(updated_at) FROM orders")
    clock = Clock(datetime(2030, 1, 1, tzinfo=UTC), timedelta(seconds=1))
    report = simulate(
        url, orders=40, rate=1, speed=600, ahead=True, tick_seconds=0.001, clock=clock
    )
    assert report.first_instant == last
    assert last < value(url, "SELECT min(placed_at) FROM orders WHERE order_id > 2000")
    assert timedelta(minutes=10) < report.last_instant - last < timedelta(hours=6)


@pytest.mark.parametrize("interrupts", [1, 2])
def test_ctrl_c_finishes_the_tick_and_a_second_one_rolls_it_back(
    make_platform: Callable[[], str], monkeypatch: pytest.MonkeyPatch, interrupts: int
) -> None:
    url = make_platform()
    reports: list[SimulationReport] = []
    run = simulation._Simulation._run

    def interrupted(self: Any, name: str, parameters: Any) -> int:
        if name == "count_page_views" and len(reports) == 2:
            for _ in range(interrupts):
                signal.raise_signal(signal.SIGINT)
        return run(self, name, parameters)

    monkeypatch.setattr(simulation._Simulation, "_run", interrupted)
    clock = Clock(UNTIL, timedelta(minutes=1))
    arguments: dict[str, Any] = {"rate": 10, "tick_seconds": 0.001, "clock": clock}
    with pytest.raises(KeyboardInterrupt) if interrupts == 2 else nullcontext():
        simulate(url, **arguments, on_tick=reports.append)
    assert reports[-1].ticks == (3 if interrupts == 1 else 2)
    assert value(url, "SELECT count(*) FROM orders") == 2_000 + reports[-1].counts["orders"]
    assert violations(url, reports[-1].last_instant) == {}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_two_simulators_take_turns(make_platform: Callable[[], str]) -> None:
    url = make_platform()
    reports: list[SimulationReport] = []

    def run(number: int) -> None:
        clock = Clock(UNTIL, timedelta(seconds=30))
        reports.append(
            simulate(url, orders=40, rate=20, seed=number, tick_seconds=0.001, clock=clock)
        )

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2
    assert value(url, "SELECT count(*) FROM orders") == 2_080
    assert violations(url, max(report.last_instant for report in reports)) == {}


def test_an_event_set_by_another_thread_stops_it(make_platform: Callable[[], str]) -> None:
    url = make_platform()
    stop = threading.Event()
    clock = Clock(UNTIL, timedelta(minutes=1))
    report = simulate(url, tick_seconds=0.001, clock=clock, stop=stop, on_tick=lambda _: stop.set())
    assert report.ticks == 1


def test_an_unseeded_database_is_refused(fresh_database: Callable[..., str]) -> None:
    with pytest.raises(RuntimeError, match="holds no ticketing platform: seed it first"):
        simulate(fresh_database("ticketing"), orders=1)


def test_a_platform_with_nothing_on_sale_is_refused(make_platform: Callable[[], str]) -> None:
    url = make_platform()
    clock = Clock(datetime(2029, 1, 1, tzinfo=UTC), timedelta(minutes=1))
    with pytest.raises(RuntimeError, match="no event with places left is on sale at 2029"):
        simulate(url, orders=5, tick_seconds=0.001, clock=clock)
