"""Reading an export: its rows in their one order, masked, in batches; counted and summed before.

Belongs here: sessions, versions and control totals. Does not belong here: what a dataset is
(``exports.datasets``), the statements (``exports/sql``), or files (``exports.formats``).

Everything of one export is read in one transaction: one lake snapshot, and one REPEATABLE READ
transaction of the warehouse. Statements work on parts of the rows, or spill what they sort, so
memory is bounded whatever the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from exports.catalogue import session_catalogue
from exports.columns import Description, Kind
from exports.coverage import gaps, label
from exports.datasets import EVENT, Origin
from exports.filters import Days
from exports.request_sql import is_keyed, parameters, request_statement, row_statements
from exports.requests import ExportRequest, named, validate
from exports.statements import run, text
from metrics.calendar import parse_date
from resources.duckdb_postgres import attach_postgres
from resources.lake import Lake, current_snapshot
from resources.staging import buyer_key_macro

BATCH_ROWS = 16_384


class NotPublishedError(RuntimeError):
    """A table has no published rows yet, so there is nothing to export."""


class IncompleteReadError(RuntimeError):
    """Fewer or more rows came than were counted beforehand."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What exports are read from.

    Attributes:
        warehouse_url: ``postgresql://`` URL of a role that may read ``reporting`` and ``ops``.
        buyer_key_secret: HMAC key of pseudonyms.
        time_zone: the reporting time zone.
    """

    lake: Lake
    warehouse_url: str = field(repr=False)
    buyer_key_secret: str = field(repr=False)
    time_zone: str


@dataclass(frozen=True, kw_only=True)
class ControlTotals:
    """What independent statements say of the rows.

    Attributes:
        rows: exactly as many come.
        money: currency → exported money column → sum in minor units, as ``formats`` report it.
        counts: exported column that is totalled → sum.
    """

    rows: int
    money: dict[str, dict[str, int]]
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ExportRows:
    """An export that is ready to be written.

    Attributes:
        dataset: its name.
        description: for the formats.
        totals: known before the first row is read.
        lake_snapshot: DuckLake snapshot that is read; None for published tables.
        is_complete: False where a published period that is read is still going on, or is missing.
        missing: runs of days, weeks or months (by their starts) that were asked for and are not
            published, or for the lake not loaded. Where no days are asked for, or an end is left
            open, what is missing between the first and the last that are there.
        by_event: totals of each event, if it was asked for; see ``open_rows``.
        events: an organizer's events that have rows, where none were named: links to the file are
            made only as long as all of them are the organizer's.
        batches: the rows, once; usable only inside ``open_rows``. Raises ``IncompleteReadError``
            at the end if they are not as many as counted.
    """

    dataset: str
    description: Description
    totals: ControlTotals
    lake_snapshot: int | None
    is_complete: bool
    missing: tuple[Days, ...]
    by_event: Mapping[int, ControlTotals] | None
    events: tuple[int, ...]
    batches: Iterator[pl.DataFrame]

    @property
    def data_version(self) -> str:
        """Version of the data: the same version and request give the same rows."""
        return self.description.data_version

    @property
    def as_of(self) -> datetime:
        """When that version was published, or the lake snapshot made."""
        return self.description.as_of


@dataclass(frozen=True)
class _Version:
    """What is read, the starts of the periods that are there, and those that are going on."""

    data_version: str
    as_of: datetime
    present: tuple[date, ...] = ()
    going_on: tuple[date, ...] = ()


@contextmanager
def open_rows(
    sources: Sources,
    request: ExportRequest,
    *,
    snapshot: int | None = None,
    batch_rows: int = BATCH_ROWS,
    by_event: bool = False,
) -> Iterator[ExportRows]:
    """Count, sum and open the rows of an export.

    Args:
        snapshot: lake snapshot to read, for a dataset of the lake; None for the present one.
        batch_rows: rows a batch at most.
        by_event: sort the rows by event first, and count and sum each event apart. Events that
            were named and have no rows are there with totals of zero. The frames then have the
            column ``event_id`` even if it is not exported.

    Raises:
        RequestError: an event or ticket type asked for no longer exists for the requester.
        NotPublishedError: nothing of the days asked for is there yet.
        SnapshotExpiredError: the lake snapshot is older than the lake's retention.
    """
    dataset = request.dataset
    with _session(sources, request, snapshot) as connection:
        _check_again(connection, request)
        read = current_snapshot(connection) if dataset.origin is Origin.LAKE else None
        version = (
            _published_version(connection, request)
            if read is None
            else _lake_version(connection, request, read)
        )
        missing = gaps(dataset.period, request.days, version.present) if version.present else ()
        found = _totals(connection, sources, request, by_event or _is_of_all_events(request))
        totals = added(found.values())
        yield ExportRows(
            dataset=dataset.name,
            description=Description(
                title=dataset.title,
                columns=tuple(column.written() for column in request.columns),
                filters=(*request.labels, *_coverage(request, version, missing)),
                data_version=version.data_version,
                as_of=version.as_of,
                time_zone=ZoneInfo(sources.time_zone),
                series=request.series,
            ),
            totals=totals,
            lake_snapshot=read,
            is_complete=not missing and not version.going_on,
            missing=missing,
            by_event=found if by_event else None,
            events=tuple(found) if _is_of_all_events(request) else (),
            batches=_batches(connection, sources, request, totals.rows, batch_rows, by_event),
        )


def _is_of_all_events(request: ExportRequest) -> bool:
    """Whether rows are those of whatever events are the organizer's now."""
    whole = request.requester.organizer_id is not None and not request.filters.events
    return whole and request.dataset.has_events


def _coverage(
    request: ExportRequest, version: _Version, missing: tuple[Days, ...]
) -> Iterator[tuple[str, str]]:
    """What a file says of the days, weeks or months it has, beside the filters."""
    there = "loaded" if request.dataset.origin is Origin.LAKE else "published"
    asked = request.days
    if version.present and (asked is None or asked.first is None or asked.last is None):
        span = Days(first=version.present[0], last=version.present[-1])
        yield f"{there} {request.dataset.period}s".capitalize(), label([span])
    if missing:
        yield f"Not {there} yet", label(missing)
    if version.going_on:
        yield "Not complete yet", ", ".join(map(str, version.going_on))


@contextmanager
def _session(
    sources: Sources, request: ExportRequest, snapshot: int | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    with sources.lake.session() as connection:
        if request.dataset.origin is Origin.WAREHOUSE:
            if snapshot is not None:
                raise ValueError(f"{request.dataset.name} is not read from the lake")
            attach_postgres(connection, sources.warehouse_url, "warehouse")
        elif snapshot is not None:
            connection.execute("DETACH lake")
            sources.lake.attach_snapshot(connection, snapshot, "lake")
        if is_keyed(request):
            connection.execute(buyer_key_macro(sources.buyer_key_secret))
        # postgres_scanner opens the warehouse's own transaction as REPEATABLE READ.
        connection.execute("BEGIN")
        yield connection


def _check_again(connection: duckdb.DuckDBPyConnection, request: ExportRequest) -> None:
    """The request was checked when it was made; events may have moved or gone since."""
    raw = request.filters.canonical()
    events, ticket_types = named(raw)
    if not events and not ticket_types:
        return
    names = [column.name for column in request.columns]
    catalogue = session_catalogue(connection, events, ticket_types)
    validate(request.dataset.name, raw, names, request.requester, catalogue)


def _lake_version(
    connection: duckdb.DuckDBPyConnection, request: ExportRequest, snapshot: int
) -> _Version:
    row = connection.execute(
        "SELECT snapshot_time FROM ducklake_snapshots('lake') WHERE snapshot_id = $snapshot",
        {"snapshot": snapshot},
    ).fetchone()
    if row is None:
        raise NotPublishedError(f"lake snapshot {snapshot} is not there")
    values = {"facts": list(request.dataset.facts), **_asked(request)}
    days = run(connection, text("loaded_days.sql"), values).fetchall()
    if not days:
        within = f" {request.days}" if request.days else ""
        raise NotPublishedError(
            f"no day of {request.dataset.name}{within} is loaded yet; materialize the raw tables,"
            " then export again"
        )
    return _Version(f"lake-{snapshot}", row[0], tuple(day for (day,) in days))


def _published_version(connection: duckdb.DuckDBPyConnection, request: ExportRequest) -> _Version:
    """Hash of the versions of every partition that is read, and when the newest was published."""
    digest, published = hashlib.sha256(), []
    present: list[date] = []
    going_on: list[date] = []
    for number, table in enumerate(request.dataset.tables):
        periods = number == 0 and request.dataset.days is not None
        asked = _asked(request) if periods else {"first": None, "last": None}
        values = {name: day and day.isoformat() for name, day in asked.items()}
        statement = text("publications.sql")
        found = run(connection, statement, {"dataset": table, **values}).fetchall()
        if not found:
            within = f" {request.days}" if periods and request.days else ""
            raise NotPublishedError(
                f"nothing of {table}{within} is published yet; materialize it, then export again"
            )
        for name, key, version, at, is_complete in found:
            digest.update(f"{name}\0{key}\0{version}\n".encode())
            published.append(at)
            if periods:
                present.append(parse_date(key))
                going_on += [] if is_complete else present[-1:]
    return _Version(digest.hexdigest()[:16], max(published), tuple(present), tuple(going_on))


def _asked(request: ExportRequest) -> dict[str, date | None]:
    days = request.days
    return {"first": days.first if days else None, "last": days.last if days else None}


def _totals(
    connection: duckdb.DuckDBPyConnection, sources: Sources, request: ExportRequest, by_event: bool
) -> dict[int, ControlTotals]:
    """Totals by event; of all rows together, under 0, unless each event is counted apart."""
    statement = request_statement(
        f"{request.dataset.statement}_totals.sql", request, by_event=by_event
    )
    result = run(connection, statement, parameters(request, sources.time_zone))
    names = [description[0] for description in result.description]
    money = [c.name for c in request.columns if c.kind is Kind.MONEY]
    counted = [c.name for c in request.columns if c.kind is Kind.INTEGER and c.total]
    events = (request.filters.events or ()) if by_event else (0,)
    rows: dict[int, list[dict[str, Any]]] = {event: [] for event in events}
    for values in result.fetchall():
        row = dict(zip(names, values, strict=True))
        rows.setdefault(row.get(EVENT, 0), []).append(row)
    return {event: _total(rows[event], money, counted) for event in sorted(rows)}


def _total(rows: list[dict[str, Any]], money: list[str], counted: list[str]) -> ControlTotals:
    sums = {
        row["currency"]: {name: int(row[name]) for name in money if row[name] is not None}
        for row in sorted(rows, key=lambda row: row["currency"] or "")
    }
    return ControlTotals(
        rows=sum(row["row_count"] for row in rows),
        money={code: amounts for code, amounts in sums.items() if amounts},
        counts={name: sum(int(row[name] or 0) for row in rows) for name in counted},
    )


def added(totals: Iterable[ControlTotals]) -> ControlTotals:
    """The totals of several parts together."""
    rows, money, counts = 0, dict[str, dict[str, int]](), dict[str, int]()
    for part in totals:
        rows += part.rows
        for code, amounts in part.money.items():
            of_code = money.setdefault(code, {})
            for name, amount in amounts.items():
                of_code[name] = of_code.get(name, 0) + amount
        for name, count in part.counts.items():
            counts[name] = counts.get(name, 0) + count
    return ControlTotals(
        rows=rows, money={code: money[code] for code in sorted(money)}, counts=counts
    )


def _batches(
    connection: duckdb.DuckDBPyConnection,
    sources: Sources,
    request: ExportRequest,
    expected: int,
    batch_rows: int,
    by_event: bool,
) -> Iterator[pl.DataFrame]:
    read = 0
    for statement in row_statements(connection, request, sources.time_zone, by_event):
        result = run(connection, statement, parameters(request, sources.time_zone))
        for batch in result.to_arrow_reader(batch_rows):
            frame = pl.from_arrow(batch)
            if not isinstance(frame, pl.DataFrame):  # only an array becomes a series
                raise TypeError("expected record batches")
            read += frame.height
            yield frame
    if read != expected:
        raise IncompleteReadError(
            f"{request.dataset.name}: {expected:,} rows were counted, {read:,} came; the file must"
            " not be used"
        )
