"""Extraction: reporting days of source facts into the lake, from one snapshot of the source.

Belongs here: reading the source's statements through DuckDB, dating and keying the rows, and
handing them to the lake. Does not belong here: orchestration (``assets.raw``) or the statements
(``resources/source_sql``).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime

import duckdb

from metrics.calendar import DayRange
from resources.lake import (
    BUSINESS_DATE,
    Lake,
    current_snapshot,
    flag,
    replace_days,
    replace_table,
    sale_date_source,
    table_columns,
)
from resources.source import Source, extraction_sql
from resources.source_contract import BUYER_IDENTITY, BUYER_KEY, CATALOGUE, Fact

_EARLIEST_SALE = date(2000, 1, 1)
_HMAC_BLOCK = 64
_FIRST_READER, _SECOND_READER = "source", "source_beside"


@dataclass(frozen=True)
class FactDay:
    """One reporting day of one fact, as it stands in the lake.

    Attributes:
        row_count: rows of that business date.
        control_sums: per currency, the sum of each money column in minor units.
    """

    row_count: int = 0
    control_sums: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Extraction:
    """What one extraction brought into the lake.

    Attributes:
        lake_snapshot: the lake's snapshot that has the rows.
        source_snapshot_at: source transaction time; every commit before it is included.
        days: by fact name and business date; a day without rows is there with zero.
        catalogue_rows: rows of each catalogue table, by fact name.
        changed_catalogue: catalogue tables whose content is new.
    """

    lake_snapshot: int
    source_snapshot_at: datetime
    days: dict[str, dict[date, FactDay]]
    catalogue_rows: dict[str, int]
    changed_catalogue: frozenset[str]


def extract(
    lake: Lake,
    source: Source,
    days: DayRange,
    facts: Sequence[Fact],
    token: str,
) -> Extraction:
    """Replace the reporting days of the facts in the lake, and the catalogue, in one commit.

    Args:
        facts: the daily facts to read; the catalogue is always read with them.
        token: unique to the attempt; names its files.
    """
    with lake.session() as connection:
        source_snapshot_at, snapshot = _begin(connection, source)
        staged = _stage(lake, connection, source, snapshot, days, facts, token)
        _end(connection)
        with lake.commit(connection):
            for table, path in staged.items():
                replace_days(connection, table, days, path)
            changed = _replace_catalogue(connection)
        return Extraction(
            lake_snapshot=current_snapshot(connection),
            source_snapshot_at=source_snapshot_at,
            days={fact.name: _measure(connection, fact, days) for fact in facts},
            catalogue_rows=_catalogue_rows(connection),
            changed_catalogue=changed,
        )


def extract_catalogue(lake: Lake, source: Source) -> Extraction:
    """Replace the catalogue in the lake, where it changed."""
    with lake.session() as connection:
        source_snapshot_at, _ = _begin(connection, source)
        _end(connection)
        with lake.commit(connection):
            changed = _replace_catalogue(connection)
        return Extraction(
            lake_snapshot=current_snapshot(connection),
            source_snapshot_at=source_snapshot_at,
            days={},
            catalogue_rows=_catalogue_rows(connection),
            changed_catalogue=changed,
        )


def _stage(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    snapshot: str,
    days: DayRange,
    facts: Sequence[Fact],
    token: str,
) -> dict[str, str | None]:
    """Stage the facts, two at a time: a single reader keeps no more than one core busy.

    The second reader takes over the first one's snapshot, and leaves it the facts that need the
    catalogue, which is in its temporary tables.
    """
    waiting = deque(sorted(facts, key=lambda fact: not _needs_catalogue(fact)))
    staged: dict[str, str | None] = {}

    def read(reader: duckdb.DuckDBPyConnection, name: str, take: Callable[[], Fact]) -> None:
        while True:
            try:
                fact = take()
            except IndexError:  # none is waiting any more
                return
            staged[fact.table] = lake.stage(reader, fact, _select(fact, days, name), token)

    def read_beside() -> None:
        with connection.cursor() as reader:
            _attach(reader, source, _SECOND_READER)
            reader.execute("BEGIN")
            reader.execute(
                f"CALL postgres_execute('{_SECOND_READER}', 'SET TRANSACTION SNAPSHOT"
                f" {_escape(_quote(snapshot))}')"
            )
            read(reader, _SECOND_READER, waiting.pop)
            reader.execute("COMMIT")
            reader.execute(f"DETACH {_SECOND_READER}")

    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(read_beside) if len(waiting) > 1 else None
        try:
            read(connection, _FIRST_READER, waiting.popleft)
        finally:
            waiting.clear()
        if beside is not None:
            beside.result()
    return staged


def _needs_catalogue(fact: Fact) -> bool:
    return any(column.name == BUYER_IDENTITY for column in fact.columns)


def _attach(connection: duckdb.DuckDBPyConnection, source: Source, name: str) -> None:
    connection.execute(f"ATTACH {_quote(source.url)} AS {name} (TYPE postgres, READ_ONLY)")


def _begin(connection: duckdb.DuckDBPyConnection, source: Source) -> tuple[datetime, str]:
    """Open the one snapshot of the source and read the catalogue in it.

    Returns:
        The source's transaction time, and the name under which others may take the snapshot over.
    """
    _attach(connection, source, _FIRST_READER)
    connection.execute(_hmac_macro(source.buyer_key_secret))
    connection.execute("BEGIN")
    opened = _rows("SELECT now() AS now, pg_export_snapshot() AS snapshot", _FIRST_READER)
    row = connection.execute(f"FROM {opened}").fetchone()
    if row is None:
        raise RuntimeError("the source did not tell its time")
    for fact in CATALOGUE:
        columns = ", ".join(table_columns(fact))
        rows = _rows(extraction_sql(fact), _FIRST_READER)
        connection.execute(f"CREATE TEMP TABLE {fact.table} AS SELECT {columns} FROM {rows}")
    return row[0], row[1]


def _end(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("COMMIT")
    connection.execute(f"DETACH {_FIRST_READER}")


def _replace_catalogue(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    return frozenset(
        fact.table
        for fact in CATALOGUE
        if replace_table(connection, fact.table, f"temp.{fact.table}")
    )


def _catalogue_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    return {
        fact.name: _scalar(connection, f"SELECT count(*) FROM temp.{fact.table}")
        for fact in CATALOGUE
    }


def _select(fact: Fact, days: DayRange, reader: str) -> str:
    """Statement that returns the fact's lake columns, a row for each of its days in the range."""
    contract = {column.name: column.type for column in fact.columns}
    dated = {
        day: day
        if contract[day] == "date"
        else f"CASE WHEN {day} >= TIMESTAMPTZ '{days.start.isoformat()}'"
        f" AND {day} < TIMESTAMPTZ '{days.end.isoformat()}'"
        f" THEN {days.business_date_sql(day)} END"
        for day in fact.days
    }
    inner = f"SELECT *, {', '.join(f'{sql} AS {_dated(day)}' for day, sql in dated.items())}"
    inner += f" FROM {_rows(extraction_sql(fact, days), reader)}"
    if len(dated) == 1:
        date_sql = _dated(fact.days[0])
        outer = inner
    else:
        first, *others = map(_dated, fact.days)
        # Nearly all rows have a single day: telling them apart first halves the time.
        alone = " AND ".join(f"coalesce({other} = {first}, {other} IS NULL)" for other in others)
        dates = (
            f"CASE WHEN {first} IS NOT NULL AND {alone} THEN [{first}]"
            f" ELSE list_distinct([{', '.join([first, *others])}]) END"
        )
        outer = f"SELECT *, unnest({dates}) AS {BUSINESS_DATE} FROM ({inner})"
        date_sql = BUSINESS_DATE
    expressions = {BUSINESS_DATE: date_sql, "sale_date": _sale_date(fact, days)}
    expressions |= {
        flag(day): f"coalesce({_dated(day)} = {BUSINESS_DATE}, false)" for day in fact.days
    }
    if BUYER_IDENTITY in contract:
        expressions[BUYER_KEY] = f"buyer_key(organizer_id, {BUYER_IDENTITY})"
        outer = (
            f"SELECT o.*, e.organizer_id FROM ({outer}) AS o"
            " LEFT JOIN temp.raw_events AS e ON e.event_id = o.event_id"
        )
    columns = ", ".join(
        f"{expressions[name]} AS {name}" if name in expressions else name
        for name in table_columns(fact)
    )
    return f"SELECT {columns} FROM ({outer})"


def _rows(statement: str, reader: str) -> str:
    return f"postgres_query('{reader}', {_quote(statement)})"


def _dated(day_column: str) -> str:
    return f"{day_column}_date"


def _sale_date(fact: Fact, days: DayRange) -> str:
    source = sale_date_source(fact)
    if source is None:
        return "NULL"
    history = DayRange(days.time_zone, _EARLIEST_SALE, days.last)
    return f"CASE WHEN {source} IS NOT NULL THEN {history.business_date_sql(source)} END"


def _hmac_macro(secret: str) -> str:
    """HMAC-SHA256 (RFC 2104) in SQL, cut to 128 bits; keyed per organizer by the message."""
    key = secret.encode()
    if len(key) > _HMAC_BLOCK:
        key = hashlib.sha256(key).digest()
    key = key.ljust(_HMAC_BLOCK, b"\0")
    inner, outer = ("".join(f"\\x{byte ^ pad:02X}" for byte in key) for pad in (0x36, 0x5C))
    return (
        "CREATE TEMP MACRO buyer_key(organizer_id, identity) AS CASE WHEN identity IS NOT NULL THEN"
        f" CAST(left(sha256('{outer}'::BLOB || unhex(sha256('{inner}'::BLOB ||"
        " encode(organizer_id || ':' || identity)))), 32) AS UUID) END"
    )


def _measure(
    connection: duckdb.DuckDBPyConnection, fact: Fact, days: DayRange
) -> dict[date, FactDay]:
    has_currency = any(column.name == "currency" for column in fact.columns)
    sums = "".join(f", sum({name})::BIGINT" for name in fact.money_columns)
    rows = connection.execute(
        f"SELECT {BUSINESS_DATE}, {'currency' if has_currency else 'NULL'}, count(*){sums}"
        f" FROM lake.{fact.table} WHERE {BUSINESS_DATE} BETWEEN DATE '{days.first}'"
        f" AND DATE '{days.last}' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    measured = {day: FactDay() for day in days.days}
    for day, currency, count, *values in rows:
        known = measured[day]
        if currency is not None:
            known.control_sums[currency] = dict(zip(fact.money_columns, values, strict=True))
        measured[day] = FactDay(known.row_count + count, known.control_sums)
    return measured


def _scalar(connection: duckdb.DuckDBPyConnection, statement: str) -> int:
    row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0


def _quote(text: str) -> str:
    return f"'{_escape(text)}'"


def _escape(text: str) -> str:
    return text.replace("'", "''")
