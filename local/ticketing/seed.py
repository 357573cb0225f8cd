"""Seeds the sample ticketing platform: deterministic, set-based, of any size.

Belongs here: sizes and the window of time, the order of the steps, and the bulk load. Does not
belong here: what rows look like (``sql/``: ``plan`` for the catalogue and demand, ``chunk`` for a
run of orders and all that hangs on them, ``late`` for facts stored in the order they happen).

How it goes: demand per event and day is shared out into exact numbers of orders; runs of days of
about 250,000 orders are generated in DuckDB and copied to Postgres while memory stays the same
whatever the size. Every draw is a pure function of (seed, stream, row id), so the same arguments
give the same rows. Tables are loaded in a schema of their own, get their keys, indexes and
statistics there and move to the target schema in one transaction: a seed that dies leaves nothing
half done, and the next one starts over.

The rows hold what a live platform's do: failed attempts before a payment, orders that complete
after midnight, refunds weeks later, cancelled events, no-shows, offline scanners, corrected rows,
test orders, names that look like formulas, and one event with more tickets than a spreadsheet has
rows (from a million orders; below, it is still the biggest by far).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import psycopg
from psycopg import sql

from local.ticketing.engine import (
    ATTACHED,
    CHUNK,
    INDEXES_SQL,
    NUMBERED,
    SCHEMA_SQL,
    TABLES,
    Engine,
    epoch_us,
    open_engine,
    read_sql,
    stored_columns,
)
from metrics.calendar import business_date, day_start

MIN_ORDERS = 1_000
MAX_ORDERS = 100_000_000
LOADING_SCHEMA = "ticketing_loading"

_ADOPT_SQL = Path(__file__).parent / "adopt.sql"
_CHUNK_ORDERS = 250_000
_DAYS_BEFORE = 220
_DAYS_AFTER = 140
# Facts that happen long after their order: staged in files, stored in the order they happened.
_LATE = {"refunds": "requested_at", "disputes": "withdrawn_at", "check_ins": "scanned_at"}
# Two connections share the copying of a chunk, about the same bytes each.
_COPY_GROUPS = (("orders", "payments", "customers"), ("tickets", "checkouts"))

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class SeedReport:
    """What a seed wrote.

    Attributes:
        rows: Rows per table.
        first_day: First local day with orders.
        last_instant: No row is stamped at or after this instant, except rows stamped exactly with
            it because they are counted up to now (today's page views).
        seconds: Wall time by step and in total.
    """

    rows: dict[str, int]
    first_day: date
    last_instant: datetime
    seconds: dict[str, float]


def seed(
    owner_url: str,
    *,
    orders: int = 200_000,
    until: datetime | date,
    months: int = 13,
    seed: int = 1,
    time_zone: str = "Africa/Nairobi",
    progress: Progress | None = None,
) -> SeedReport:
    """Create the platform's schema in an empty database and fill it.

    Args:
        owner_url: ``postgresql://`` URL of the database's owner; tables go to its default schema.
        orders: Orders placed, 1 thousand to 100 million.
        until: The platform's "now": an aware instant, or a day, meaning its end.
        months: Length of the history before ``until``.
        seed: Same seed, size, window and zone: same rows.
        time_zone: Reporting time zone; defines the days.
        progress: Called with the step's name and the share done (0 to 1).

    Raises:
        ValueError: If an argument is out of range.
        RuntimeError: If the database already holds rows of the platform.
    """
    tell = progress or (lambda step, share: None)
    window = _window(orders, until, months, time_zone)
    timer = _Timer()
    with psycopg.connect(owner_url, autocommit=True) as connection:
        target = _create_loading_schema(connection)
        columns = stored_columns(connection, LOADING_SCHEMA, TABLES)
        constraints = _drop_constraints(connection)
        with open_engine(seed) as engine:
            engine.attach(owner_url, LOADING_SCHEMA)
            tell("planning", 0.0)
            _plan(engine, window, orders, time_zone)
            timer.mark("plan")
            loader = _Loader(engine, columns)
            loader.load("organizers", "fee_plans")
            _load_chunks(engine, loader, orders, tell)
            timer.mark("orders")
            _load_late(engine, loader, tell)
            timer.mark("late facts")
            engine.make("plan", "events", "ticket_types", "page_views")
            loader.load("events", "ticket_types", "page_views")
            timer.mark("catalogue")
        _finish(owner_url, constraints, tell)
        timer.mark("keys and indexes")
        with connection.transaction():
            connection.execute(
                sql.SQL(_ADOPT_SQL.read_text(encoding="utf-8")).format(
                    loading=sql.Literal(LOADING_SCHEMA), target=sql.Literal(target)
                )
            )
            connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(LOADING_SCHEMA)))
    tell("done", 1.0)
    return SeedReport(loader.rows, window.first_day, window.until, timer.seconds())


@dataclass(frozen=True)
class _Window:
    first_day: date
    until: datetime
    last_index: int


def _window(orders: int, until: datetime | date, months: int, time_zone: str) -> _Window:
    if not MIN_ORDERS <= orders <= MAX_ORDERS:
        raise ValueError(f"orders must be {MIN_ORDERS} to {MAX_ORDERS}, not {orders}")
    if not 1 <= months <= 120:
        raise ValueError(f"months must be 1 to 120, not {months}")
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise ValueError(f"until must carry a time zone: {until.isoformat()}")
        instant = until.astimezone(UTC)
    else:
        instant = day_start(time_zone, until + timedelta(days=1))
    last_day = business_date(time_zone, instant - timedelta(microseconds=1))
    month = last_day.year * 12 + last_day.month - 1 - months
    year, month = divmod(month, 12)
    first_day = date(year, month + 1, min(last_day.day, 28))
    return _Window(first_day, instant, (last_day - first_day).days)


def _plan(engine: Engine, window: _Window, orders: int, time_zone: str) -> None:
    events = max(60, round(700 * (orders / 200_000) ** 0.75))
    engine.make_days(time_zone, window.first_day, _DAYS_BEFORE, window.last_index + _DAYS_AFTER)
    engine.set_variables(
        {
            "orders": orders,
            "organizers": max(8, round(40 * (orders / 200_000) ** 0.7)),
            "events": events,
            "mega_event": events * 2 // 5,
            "mega_orders": max(330_000, orders * 3 // 100)
            if orders >= 1_000_000
            else orders * 12 // 100,
            "day_floor": min(6, orders // (4 * (window.last_index + 1))),
            "until": epoch_us(window.until),
            "first_instant": epoch_us(day_start(time_zone, window.first_day)),
            "last_day": window.last_index,
            "first_weekday": window.first_day.weekday(),
        }
    )
    engine.make(
        "plan",
        "event_kind",
        "event",
        "organizers",
        "fee_plans",
        "event_fees",
        "ticket_type",
        "pay_method",
        "demand",
        "event_orders",
        "grid",
    )
    engine.connection.execute("CREATE TABLE sold (ticket_type_id BIGINT, sold BIGINT)")


class _Loader:
    """Copies tables to the loading schema, two connections at a time, and counts the rows."""

    def __init__(self, engine: Engine, columns: Mapping[str, str]) -> None:
        self.rows = dict.fromkeys(TABLES, 0)
        self._columns = columns
        self._engine = engine

    def load(self, *tables: str) -> None:
        for table in tables:
            self._copy(self._engine.connection, table, f"FROM {table}")

    def load_groups(self) -> None:
        with ThreadPoolExecutor(len(_COPY_GROUPS)) as pool:
            for done in [pool.submit(self._copy_group, group) for group in _COPY_GROUPS]:
                done.result()

    def load_query(self, table: str, query: str) -> None:
        self._copy(self._engine.connection, table, f"FROM ({query})")

    def _copy_group(self, tables: tuple[str, ...]) -> None:
        with self._engine.connection.cursor() as connection:
            for table in tables:
                self._copy(connection, table, f"FROM {table}")

    def _copy(self, connection: duckdb.DuckDBPyConnection, table: str, source: str) -> None:
        row = connection.execute(
            f"INSERT INTO {ATTACHED}.{table} SELECT {self._columns[table]} {source}"
        ).fetchone()
        self.rows[table] += int(row[0]) if row else 0


def _load_chunks(engine: Engine, loader: _Loader, orders: int, tell: Progress) -> None:
    next_ids = dict.fromkeys(NUMBERED, 1)
    for number, (first, last) in enumerate(_day_runs(engine)):
        tell("orders", loader.rows["orders"] / orders)
        engine.set_variables({"first_idx": first, "last_idx": last})
        engine.set_variables({f"next_{NUMBERED[t]}": value for t, value in next_ids.items()})
        engine.make("chunk", "arrivals", *CHUNK)
        engine.connection.execute(
            "INSERT INTO sold SELECT ticket_type_id, count(*) FROM tickets GROUP BY ALL"
        )
        for table in _LATE:
            path = engine.workspace / f"{table}-{number:06}.parquet"
            engine.connection.execute(f"COPY {table} TO '{path}' (FORMAT parquet)")
        loader.load_groups()
        for table in NUMBERED:
            next_ids[table] += engine.count(table)
    engine.connection.execute(
        "CREATE OR REPLACE TABLE sold AS"
        " SELECT ticket_type_id, sum(sold)::BIGINT AS sold FROM sold GROUP BY ALL"
    )


def _day_runs(engine: Engine) -> Iterator[tuple[int, int]]:
    """Runs of consecutive days of about ``_CHUNK_ORDERS`` orders each."""
    first, size = None, 0
    days = engine.connection.execute(
        "SELECT idx, sum(orders)::BIGINT FROM grid GROUP BY idx ORDER BY idx"
    ).fetchall()
    for index, count in days:
        if first is not None and size + count > _CHUNK_ORDERS:
            yield first, index - 1
            first, size = None, 0
        first = index if first is None else first
        size += count
    if first is not None:
        yield first, days[-1][0]


def _load_late(engine: Engine, loader: _Loader, tell: Progress) -> None:
    for table in ("carts", "lines", "arrivals", *CHUNK[2:]):
        engine.connection.execute(f"DROP TABLE IF EXISTS {table}")
    for done, table in enumerate(_LATE):
        tell("late facts", done / len(_LATE))
        engine.set_variables({"staged": str(engine.workspace / f"{table}-*.parquet")})
        loader.load_query(table, read_sql("late", table))


def _create_loading_schema(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    """Make the empty loading schema with the platform's tables; return the target schema's name."""
    row = connection.execute("SELECT current_schema()").fetchone()
    if row is None or row[0] is None:
        raise RuntimeError("the database has no schema in its search_path to seed into")
    target = str(row[0])
    for table in TABLES:
        name = sql.Identifier(target, table)
        found = connection.execute("SELECT to_regclass(%s)", [f"{target}.{table}"]).fetchone()
        if found and found[0] is not None:
            full = connection.execute(
                sql.SQL("SELECT EXISTS (SELECT FROM {})").format(name)
            ).fetchone()
            if full and full[0]:
                raise RuntimeError(
                    f"the database already holds rows in {target}.{table}: seed only fills an"
                    " empty database; drop the platform's tables or name another database"
                )
    loading = sql.Identifier(LOADING_SCHEMA)
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(loading))
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(loading))
    connection.execute(sql.SQL("SET search_path TO {}").format(loading))
    connection.execute(SCHEMA_SQL.read_bytes())
    return target


def _drop_constraints(connection: psycopg.Connection[tuple[object, ...]]) -> list[list[sql.SQL]]:
    """Drop the keys for the load; return the statements that make them again, by step.

    Making keys after the load is several times faster than checking them row by row.
    """
    found = connection.execute(
        "SELECT conrelid::regclass::text, quote_ident(conname), contype = 'p',"
        " pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = current_schema()::regnamespace AND contype IN ('p', 'f')"
        " ORDER BY contype, conrelid, conname"
    ).fetchall()
    for table, name, _, _ in found:
        connection.execute(sql.SQL(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
    return [
        [
            sql.SQL(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
            for table, name, is_primary, definition in found
            if is_primary == primary
        ]
        for primary in (True, False)
    ]


def _finish(owner_url: str, constraints: list[list[sql.SQL]], tell: Progress) -> None:
    """Primary keys, then secondary indexes, then foreign keys, then statistics; two at a time."""
    primary, foreign = constraints
    indexes = [
        sql.SQL(statement) for statement in _statements(INDEXES_SQL.read_text(encoding="utf-8"))
    ]
    analyze = [sql.SQL("ANALYZE {}").format(sql.Identifier(table)) for table in TABLES]
    steps: list[list[sql.SQL | sql.Composed]] = [
        [*primary],
        [*indexes],
        [*analyze],
        [*foreign],
    ]
    total, done = sum(map(len, steps)), 0
    for step in steps:
        with ThreadPoolExecutor(2) as pool:
            for finished in [pool.submit(_run, owner_url, statement) for statement in step]:
                finished.result()
                done += 1
                tell("keys and indexes", done / total)


def _run(owner_url: str, statement: sql.SQL | sql.Composed) -> None:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(LOADING_SCHEMA)))
        connection.execute("SET maintenance_work_mem = '256MB'")
        connection.execute("SET max_parallel_maintenance_workers = 0")
        connection.execute(statement)


def _statements(text: str) -> Iterator[str]:
    """Statements of a file whose comments are whole lines and whose literals hold no semicolon."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    yield from (part.strip() for part in "\n".join(lines).split(";") if part.strip())


class _Timer:
    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._seconds: dict[str, float] = {}

    def mark(self, step: str) -> None:
        now = time.perf_counter()
        self._seconds[step] = round(now - self._last, 3)
        self._last = now

    def seconds(self) -> dict[str, float]:
        return self._seconds | {"total": round(time.perf_counter() - self._start, 3)}
