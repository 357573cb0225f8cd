"""Late data: which past days the source's changed rows touch.

Belongs here: the cursor over each fact's update times, reading what changed at the source, and
comparing it with the lake. Does not belong here: what is requested for the days found
(``resources.late_requests``), remembering them (``warehouse.late_days``), or changes that leave no
update time (``assets.fingerprint``).

A transaction may commit after a later update time was seen. So every pass over a fact begins an
overlap before the one before began, and what the lake has already is told apart by key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import duckdb
import polars as pl
import psycopg
from jinja2 import Environment, StrictUndefined

from metrics.calendar import DayRange
from resources.lake import Lake
from resources.source import unbounded_sql
from resources.source_contract import DAILY_FACTS, Fact
from warehouse.late_days import LateRow

ROWS_PER_FACT = 20_000
"""Rows of one fact that one tick reads; the next one goes on after the last."""

_CURSOR_VERSION = 1
_STATEMENT_TIMEOUT = "20s"  # Dagster gives a tick 60 s; reading by an index takes milliseconds
_KEYS = {"page_views": ("event_id", "view_date", "channel")}
_POLARS_TYPES = {"bigint": pl.Int64, "text": pl.String, "date": pl.Date}
_INSTANT = pl.Datetime("us", "UTC")
_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - SQL


@dataclass(frozen=True)
class FactCursor:
    """How far the changes of one fact were read.

    Attributes:
        since: source time; every commit before it whose update time is not older than it by more
            than the overlap has been read.
        began: source time at which the unfinished pass began; None between passes.
        after: update time and key of the last row read of the unfinished pass, as text.
    """

    since: datetime
    began: datetime | None = None
    after: tuple[str, ...] = ()


Cursor = Mapping[str, FactCursor]
"""Cursor of each fact, by name."""


class CursorError(ValueError):
    """The sensor's stored cursor cannot be read."""


def parse_cursor(text: str | None, start: datetime) -> dict[str, FactCursor]:
    """Read a stored cursor.

    Args:
        start: where a fact begins that has no cursor yet.

    Raises:
        CursorError: it was written by another version; says what to do.
    """
    stored: dict[str, Any] = {}
    if text:
        try:
            content = json.loads(text)
            if content["version"] != _CURSOR_VERSION:
                raise ValueError(f"version {content['version']}")
            stored = {
                name: FactCursor(
                    datetime.fromisoformat(value["since"]),
                    datetime.fromisoformat(value["began"]) if value["began"] else None,
                    tuple(value["after"]),
                )
                for name, value in content["facts"].items()
            }
        except (ValueError, KeyError, TypeError) as error:
            raise CursorError(
                f"the cursor {text!r} cannot be read ({error!r}); reset the cursor of the sensor"
                " late_data in Dagster: it then starts at the oldest extraction"
            ) from error
    return {fact.name: stored.get(fact.name, FactCursor(start)) for fact in DAILY_FACTS}


def format_cursor(cursor: Cursor) -> str:
    """Write a cursor for Dagster to keep."""
    return json.dumps(
        {
            "version": _CURSOR_VERSION,
            "facts": {
                name: {
                    "since": value.since.isoformat(),
                    "began": value.began.isoformat() if value.began else None,
                    "after": list(value.after),
                }
                for name, value in cursor.items()
            },
        }
    )


@dataclass(frozen=True)
class FactChanges:
    """Rows of one fact that were written since its cursor.

    Attributes:
        fact: their fact.
        rows: key, instants or date, and update time of each row.
        since: update time from which the next pass will read.
        is_bounded: whether there may be more, for the next tick.
    """

    fact: Fact
    rows: pl.DataFrame
    since: datetime
    is_bounded: bool


@dataclass(frozen=True)
class SourceChanges:
    """What changed at the source since a cursor, in one snapshot of it.

    Attributes:
        found_at: source clock after the snapshot was taken: what was committed before is in it,
            so an extraction that began later has every row found.
        cursor: where the next tick goes on, once what was found is remembered.
    """

    found_at: datetime
    cursor: dict[str, FactCursor]
    facts: tuple[FactChanges, ...]

    @property
    def rows_read(self) -> int:
        """Rows read of all facts."""
        return sum(changes.rows.height for changes in self.facts)


@dataclass(frozen=True)
class LateRows:
    """What changed rows touch.

    Attributes:
        rows: one for each row and past day.
        outside: by fact, changed rows with an instant before the first reporting day or in the
            future; such days do not exist.
    """

    rows: list[LateRow] = field(default_factory=list)
    outside: dict[str, int] = field(default_factory=dict)


def read_changes(
    source_url: str, cursor: Cursor, overlap: timedelta, limit: int = ROWS_PER_FACT
) -> SourceChanges:
    """Read what was written since the cursor, of every daily fact, in one snapshot.

    Raises:
        psycopg.Error: the source cannot be read; nothing may be concluded from it.
    """
    with psycopg.connect(source_url, connect_timeout=10) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'")
        began = _instant(connection, "SELECT now()")
        read = {
            fact: _read_fact(connection, fact, cursor[fact.name], overlap, limit)
            for fact in DAILY_FACTS
        }
        found_at = _instant(connection, "SELECT clock_timestamp()")
    following = {
        fact.name: advance(cursor[fact.name], began, _last_read(fact, rows, limit))
        for fact, rows in read.items()
    }
    return SourceChanges(
        found_at=found_at,
        cursor=following,
        facts=tuple(
            FactChanges(
                fact=fact,
                rows=rows,
                since=following[fact.name].since - overlap,
                is_bounded=following[fact.name].began is not None,
            )
            for fact, rows in read.items()
        ),
    )


def advance(cursor: FactCursor, began: datetime, last_read: tuple[str, ...] | None) -> FactCursor:
    """The cursor after one read.

    Args:
        began: source time of the read.
        last_read: the last row, if the bound was hit and there may be more; a pass over more rows
            than one tick reads ends only when it has seen them all.
    """
    pass_began = cursor.began or began
    return (
        FactCursor(pass_began)
        if last_read is None
        else FactCursor(cursor.since, pass_began, last_read)
    )


def find_late_rows(lake: Lake, changes: SourceChanges, days: DayRange, today: date) -> LateRows:
    """Compare changed rows with the lake.

    Args:
        days: the reporting days there are; today and later ones are left to the live day.
    """
    if not changes.rows_read or days.first >= today:
        return LateRows()
    found = LateRows()
    with lake.session() as connection:
        for changed in changes.facts:
            if changed.rows.height:
                found.rows.extend(_late_rows(connection, changed, days, today))
                if outside := _count_outside(connection, changed, days):
                    found.outside[changed.fact.name] = outside
    return found


def key_columns(fact: Fact) -> tuple[str, ...]:
    """The columns that identify a row of the fact."""
    return _KEYS.get(fact.name, (fact.columns[0].name,))


def changed_rows_sql(fact: Fact, *, goes_on: bool = False) -> str:
    """Statement on the source for a fact's rows written since ``%(since)s``, in order.

    Args:
        goes_on: whether it goes on after the row ``%(after_0)s``, ``%(after_1)s`` ...
    """
    types = {column.name: column.type for column in fact.columns}
    order = ["recorded_at", *key_columns(fact)]
    return _statement(
        "changed_rows",
        keys=key_columns(fact),
        instants=[day for day in fact.days if types[day] == "timestamptz"],
        dates=[day for day in fact.days if types[day] == "date"],
        statement=unbounded_sql(fact).replace("%", "%%"),
        after=[f"%(after_{n})s::{types[c]}" for n, c in enumerate(order)] if goes_on else [],
    )


def _read_fact(
    connection: psycopg.Connection[Any],
    fact: Fact,
    cursor: FactCursor,
    overlap: timedelta,
    limit: int,
) -> pl.DataFrame:
    after = {f"after_{n}": value for n, value in enumerate(cursor.after)}
    rows = connection.execute(
        changed_rows_sql(fact, goes_on=bool(after)).encode(),
        {"since": cursor.since - overlap, "limit": limit, **after},
    ).fetchall()
    types = {column.name: column.type for column in fact.columns}
    names = dict.fromkeys([*key_columns(fact), *fact.days, "recorded_at"])
    schema = {name: _POLARS_TYPES.get(types[name], _INSTANT) for name in names}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _last_read(fact: Fact, rows: pl.DataFrame, limit: int) -> tuple[str, ...] | None:
    if rows.height < limit:
        return None
    last = rows.row(-1, named=True)
    return (
        last["recorded_at"].isoformat(),
        *(str(last[name]) for name in key_columns(fact)),
    )


def _late_rows(
    connection: duckdb.DuckDBPyConnection, changed: FactChanges, days: DayRange, today: date
) -> Iterator[LateRow]:
    fact, keys = changed.fact, key_columns(changed.fact)
    connection.register("changed_rows", changed.rows)
    statement = _statement(
        "late_rows",
        keys=keys,
        dates=_dates(fact, days),
        changed="changed_rows",
        table=fact.table,
    )
    found = connection.execute(
        statement,
        {
            "lowest": changed.rows[keys[0]].min(),
            "highest": changed.rows[keys[0]].max(),
            "first": days.first,
            "last": today - timedelta(days=1),
        },
    ).fetchall()
    for row_key, business_date, recorded_at in found:
        yield LateRow(fact.name, row_key, business_date, recorded_at)


def _count_outside(
    connection: duckdb.DuckDBPyConnection, changed: FactChanges, days: DayRange
) -> int:
    dates = zip(changed.fact.days, _dates(changed.fact, days), strict=True)
    outside = " OR ".join(f"({day} IS NOT NULL AND {on} IS NULL)" for day, on in dates)
    row = connection.execute(f"SELECT count(*) FROM changed_rows WHERE {outside}").fetchone()
    return int(row[0]) if row else 0


def _dates(fact: Fact, days: DayRange) -> list[str]:
    """Expressions for the business dates of a row; NULL where it is none of the days."""
    types = {column.name: column.type for column in fact.columns}
    return [
        f"CASE WHEN {day} BETWEEN DATE '{days.first}' AND DATE '{days.last}' THEN {day} END"
        if types[day] == "date"
        else f"CASE WHEN {day} >= TIMESTAMPTZ '{days.start.isoformat()}'"
        f" AND {day} < TIMESTAMPTZ '{days.end.isoformat()}'"
        f" THEN {days.business_date_sql(day)} END"
        for day in fact.days
    ]


def _instant(connection: psycopg.Connection[Any], query: str) -> datetime:
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        raise RuntimeError("the source did not tell its time")
    instant: datetime = row[0]
    return instant


@cache
def _template(name: str) -> str:
    return (files("resources") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def _statement(name: str, **values: object) -> str:
    return _ENVIRONMENT.from_string(_template(name)).render(**values)
