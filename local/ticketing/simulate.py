"""Lets the sample ticketing platform go on living: ``boxoffice simulate``.

Belongs here: the clock, the tick (one tick is one transaction) and how often each kind of thing
happens. Does not belong here: what an order looks like (``sql/chunk``, shared with ``seed``) or
what happens to past sales (``sql/simulate``).

A tick places new orders at events on sale, lets open orders complete or lapse, counts page views,
and now and then cancels tickets of past orders, pays waiting refunds, corrects refunds and
payments of earlier days, opens and settles disputes, scans tickets at the gates and moves events
along. Every row a tick writes carries the tick's instant as updated_at, as on a live platform,
while business instants lie at or before it; the rules of ``invariants.sql`` hold after every tick.
Numbers continue from the highest in the database; simulators take turns by an advisory lock.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import psycopg
from psycopg import sql

from local.ticketing.engine import CHUNK, NUMBERED, Engine, epoch_us, open_engine, read_sql
from local.ticketing.engine import stored_columns as read_stored_columns
from metrics.calendar import business_date

_LOCK = "ticketing simulate"
_CATALOGUE_SECONDS = 60.0
_LATE = {"refunds": "refund_id", "disputes": "dispute_id", "check_ins": "check_in_id"}
_STORED = (
    "customers",
    "orders",
    "tickets",
    "payments",
    "refunds",
    "disputes",
    "check_ins",
    "checkouts",
)
# What happens to past sales for each new order; candidates name where random ids are drawn from.
_PER_ORDER: Mapping[str, float] = {
    "cancellations": 0.05,
    "pay_refunds": 0.055,
    "correct_refunds": 0.01,
    "correct_payments": 0.01,
    "disputes": 0.01,
    "reinstatements": 0.004,
    "check_ins": 0.8,
}
_CANDIDATES: Mapping[str, str] = {
    "cancellations": "order_id",
    "correct_refunds": "refund_id",
    "correct_payments": "order_id",
    "disputes": "order_id",
}
_CANDIDATES_PER_WANTED = 200


@dataclass
class SimulationReport:
    """What a simulation wrote.

    Attributes:
        counts: Rows per kind: tables for new rows, statements of ``sql/simulate`` for the rest.
        ticks: Transactions committed.
        first_instant: Instant before the first tick.
        last_instant: Instant of the last tick.
    """

    first_instant: datetime
    last_instant: datetime
    counts: Counter[str] = field(default_factory=Counter)
    ticks: int = 0


def simulate(
    owner_url: str,
    *,
    for_seconds: float | None = None,
    orders: int | None = None,
    rate: float = 30.0,
    speed: float = 1.0,
    seed: int = 1,
    time_zone: str = "Africa/Nairobi",
    ahead: bool = False,
    tick_seconds: float = 1.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    stop: threading.Event | None = None,
    on_tick: Callable[[SimulationReport], None] | None = None,
) -> SimulationReport:
    """Append orders, and changes of past ones, until told to stop.

    Stops after ``for_seconds``, after ``orders`` new orders, when ``stop`` is set or at Ctrl-C,
    whichever comes first. The tick under way is finished; a second Ctrl-C rolls it back as a whole
    and raises KeyboardInterrupt.

    Args:
        owner_url: ``postgresql://`` URL of the platform's owner.
        for_seconds: Seconds to run, by the wall clock; None: no limit.
        orders: New orders to place; None: no limit.
        rate: Orders per simulated minute.
        speed: Simulated minutes per minute of the wall clock.
        seed: Of every draw; the platform's own seed keeps its events' fees and taxes.
        time_zone: Reporting time zone; the day page views are counted on.
        ahead: False: everything is stamped with the present and speed only scales the rate.
            True: simulated time runs from the database's last instant at ``speed``, and may
            write instants in the future.
        tick_seconds: Seconds between transactions.
        clock: The wall clock, as aware instants.
        stop: Set by another thread to end after the current tick.
        on_tick: Called after each tick with the report so far.

    Raises:
        ValueError: If an argument is out of range.
        RuntimeError: If the platform is not seeded or nothing is on sale.
    """
    if rate <= 0 or speed <= 0:
        raise ValueError(f"rate and speed must be positive, not {rate} and {speed}")
    if (for_seconds is not None and for_seconds <= 0) or (orders is not None and orders <= 0):
        raise ValueError("for_seconds and orders must be positive when given")
    stopping = stop or threading.Event()
    started, begun = clock(), time.monotonic()
    with (
        _stop_at_interrupt(stopping),
        psycopg.connect(owner_url) as connection,
        open_engine(seed) as engine,
    ):
        schema = _require_platform(connection)
        simulation = _Simulation(connection, engine, schema, seed, time_zone)
        simulation.attach(owner_url)
        origin = simulation.last_instant() if ahead else started
        first = origin - timedelta(seconds=tick_seconds * (speed if ahead else 1.0))
        report = SimulationReport(origin, origin)
        due, previous = 0.0, started - timedelta(seconds=max(tick_seconds, 1.0))
        before = min(first, origin)
        while not stopping.is_set():
            wall = clock()
            now = origin + (wall - started) * speed if ahead else wall
            due += (wall - previous).total_seconds() / 60 * rate * speed
            previous = wall
            new_orders = int(due)
            due -= new_orders
            if orders is not None:
                new_orders = min(new_orders, orders - report.counts["orders"])
            if now > before:
                simulation.tick(before, now, new_orders, report)
                before = now
                if on_tick is not None:
                    on_tick(report)
            if orders is not None and report.counts["orders"] >= orders:
                break
            if for_seconds is not None and time.monotonic() - begun >= for_seconds:
                break
            stopping.wait(tick_seconds)
    return report


class _Simulation:
    def __init__(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        engine: Engine,
        schema: str,
        seed: int,
        time_zone: str,
    ) -> None:
        self._connection = connection
        self._engine = engine
        self._schema = schema
        self._time_zone = time_zone
        self._columns = read_stored_columns(connection, schema, _STORED)
        self._random = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self._owed: Counter[str] = Counter()
        self._catalogue_at: float | None = None
        connection.commit()

    def attach(self, owner_url: str) -> None:
        self._engine.attach(owner_url, self._schema)
        self._engine.make("plan", "pay_method")

    def last_instant(self) -> datetime:
        """When the platform last changed an order."""
        row = self._connection.execute("SELECT max(updated_at) FROM orders").fetchone()
        self._connection.commit()
        if row is None or row[0] is None:
            raise RuntimeError("the platform holds no orders: seed it first")
        instant: datetime = row[0]
        return instant.astimezone(UTC)

    def tick(
        self, before: datetime, now: datetime, new_orders: int, report: SimulationReport
    ) -> None:
        """Write what happened in (before, now], in one transaction."""
        with self._exclusive():
            parameters = {"now": now, "today": business_date(self._time_zone, now)}
            counts: Counter[str] = Counter()
            counts["move_events"] = self._run("move_events", parameters)
            self._generate(before, now, new_orders)
            counts.update(self._store(now, parameters))
            counts.update(self._past_sales(counts["orders"], parameters))
        self._engine.connection.execute(
            "INSERT INTO held SELECT event_id, sum(admissions)::BIGINT FROM carts"
            " WHERE NOT is_settling GROUP BY ALL;"
            "CREATE OR REPLACE TABLE held AS"
            " SELECT event_id, sum(held)::BIGINT AS held FROM held GROUP BY ALL"
        )
        report.counts.update(counts)
        report.ticks += 1
        report.last_instant = now

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One transaction; its first statement waits for other simulators."""
        with self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [_LOCK])
            yield

    def _generate(self, before: datetime, now: datetime, new_orders: int) -> None:
        engine = self._engine
        engine.set_variables(
            {
                "placed_from": epoch_us(before),
                "until": epoch_us(now),
                "first_instant": epoch_us(before - timedelta(hours=3)),
                "new_orders": new_orders,
            }
            | {f"next_{key}": self._next_id(table, key) for table, key in NUMBERED.items()}
        )
        elapsed = time.monotonic()
        if self._catalogue_at is None or elapsed - self._catalogue_at > _CATALOGUE_SECONDS:
            engine.make("simulate", "event", "fee_plans", "ticket_type", "held")
            engine.make("plan", "event_fees")
            self._catalogue_at = elapsed
        engine.make("simulate", "offer")
        if new_orders and engine.count("offer") == 0:
            raise RuntimeError(
                f"no event with places left is on sale at {now.isoformat()}:"
                " seed the platform up to the present"
            )
        engine.make("simulate", "arrivals")
        engine.make("chunk", *CHUNK)
        engine.make("simulate", "page_views")

    def _store(self, now: datetime, parameters: Mapping[str, object]) -> Counter[str]:
        """Write the generated rows; returns rows per table and per change."""
        changed = (
            "order_id IN (SELECT order_id FROM arrivals WHERE NOT is_settling)"
            " OR order_id IN (SELECT order_id FROM orders WHERE status <> 'pending')"
        )
        counts: Counter[str] = Counter()
        counts["customers"] = self._copy("customers", "customers", now)
        self._connection.execute(
            "CREATE TEMP TABLE staged_orders (LIKE orders INCLUDING DEFAULTS) ON COMMIT DROP"
        )
        self._copy("staged_orders", "orders", now, changed)
        self._run("store_orders", parameters)
        counts["orders"] = self._engine.count("arrivals WHERE NOT is_settling")
        counts["orders settled"] = self._engine.count(
            "orders WHERE status <> 'pending'"
            " AND order_id IN (SELECT order_id FROM arrivals WHERE is_settling)"
        )
        counts["close_attempts"] = self._run("close_attempts", parameters)
        counts["convert_checkouts"] = self._run("convert_checkouts", parameters)
        for table in ("tickets", "payments", "checkouts"):
            where = changed if table == "payments" else "true"
            counts[table] = self._copy(table, table, now, where)
        for table, key in _LATE.items():
            counts[table] = self._copy(table, table, now, numbered_by=key)
        views = self._engine.connection.execute("SELECT * FROM page_views").fetchall()
        columns = list(zip(*views, strict=True)) if views else [(), (), (), ()]
        names = ("events", "channels", "page_views", "visitors")
        counts["count_page_views"] = self._run(
            "count_page_views",
            {**parameters, **{n: list(c) for n, c in zip(names, columns, strict=True)}},
        )
        return counts

    def _past_sales(self, orders: int, parameters: Mapping[str, object]) -> Counter[str]:
        """What this tick does to past sales, in proportion to its new orders."""
        counts: Counter[str] = Counter()
        for name, share in _PER_ORDER.items():
            self._owed[name] += round(share * 1000) * orders
            wanted, self._owed[name] = divmod(self._owed[name], 1000)
            if not wanted:
                continue
            values = {**parameters, "wanted": wanted, "draw": self._random.randrange(2**31)}
            if key := _CANDIDATES.get(name):
                table = "refunds" if key == "refund_id" else "orders"
                values["candidates"] = self._random_ids(table, key, wanted)
            counts[name] = self._run(name, values)
        return counts

    def _random_ids(self, table: str, key: str, wanted: int) -> list[int]:
        """Ids of past rows to look at, without repeats, in random order."""
        highest = self._next_id(table, key) - 1
        if highest < 1:
            return []
        size = min(highest, _CANDIDATES_PER_WANTED * wanted)
        return self._random.sample(range(1, highest + 1), size)

    def _next_id(self, table: str, key: str) -> int:
        row = self._connection.execute(
            sql.SQL("SELECT coalesce(max({}), 0) + 1 FROM {}").format(
                sql.Identifier(key), sql.Identifier(table)
            )
        ).fetchone()
        return int(row[0]) if row else 1

    def _run(self, name: str, parameters: Mapping[str, object]) -> int:
        statement = read_sql("simulate", name).encode()
        return self._connection.execute(statement, dict(parameters)).rowcount

    def _copy(
        self,
        target: str,
        table: str,
        now: datetime,
        where: str = "true",
        numbered_by: str | None = None,
    ) -> int:
        """Copy a generated table into Postgres, stamped as written now; returns the rows."""
        source = f"SELECT * REPLACE ({epoch_us(now)} AS updated_at) FROM {table} WHERE {where}"
        if numbered_by:
            first = self._next_id(table, numbered_by)
            source = (
                f"SELECT {first - 1} + row_number() OVER (ORDER BY order_id) AS {numbered_by}, *"
                f" FROM ({source})"
            )
        rows = self._engine.connection.execute(
            f"SELECT {self._columns[table]} FROM ({source})"
        ).fetchall()
        if rows:
            self._copy_rows(target, rows)
        return len(rows)

    def _copy_rows(self, target: str, rows: Sequence[tuple[Any, ...]]) -> None:
        statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(target))
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)


@contextmanager
def _stop_at_interrupt(stopping: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C finish the tick; only the main thread can ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        stopping.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _require_platform(connection: psycopg.Connection[tuple[Any, ...]]) -> str:
    """The schema the platform's tables are in."""
    row = connection.execute(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('orders')"
    ).fetchone()
    connection.commit()
    if row is None:
        raise RuntimeError("the database holds no ticketing platform: seed it first")
    return str(row[0])
