"""Reading an export: its rows in their one order, masked, in batches; counted and summed before.

Belongs here: sessions, versions and control totals. Does not belong here: what a dataset is
(``exports.datasets``), the statements (``exports/sql``), or files (``exports.formats``).

Everything of one export is read in one transaction: one lake snapshot, and one REPEATABLE READ
transaction of the warehouse. What DuckDB must sort beyond its memory limit it spills to a temporary
folder, so memory is bounded whatever the rows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import psycopg
from jinja2 import Environment, FunctionLoader, StrictUndefined

from exports.columns import Description, Kind
from exports.datasets import Origin
from exports.filters import Days
from exports.masking import Treatment, mask_sql, search_sql
from exports.requests import Catalogue, ExportRequest, named, validate
from resources.lake import Lake, current_snapshot
from resources.staging import buyer_key_macro

BATCH_ROWS = 16_384
_PARAMETER = re.compile(r"\$([a-z_]+)")
_PERSONAL_KEY = "attendee_key"


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
        description: for the formats.
        totals: known before the first row is read.
        lake_snapshot: DuckLake snapshot that is read; None for published tables.
        is_complete: False where a published period that is read is still going on.
        batches: the rows, once; usable only inside ``open_rows``. Raises ``IncompleteReadError``
            at the end if they are not as many as counted.
    """

    description: Description
    totals: ControlTotals
    lake_snapshot: int | None
    is_complete: bool
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
    data_version: str
    as_of: datetime
    is_complete: bool = True


@contextmanager
def open_rows(
    sources: Sources,
    request: ExportRequest,
    *,
    snapshot: int | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[ExportRows]:
    """Count, sum and open the rows of an export.

    Args:
        snapshot: lake snapshot to read, for a dataset of the lake; None for the present one.
        batch_rows: rows a batch at most.

    Raises:
        RequestError: an event or ticket type asked for no longer exists for the requester.
        NotPublishedError: nothing of a published table is there yet.
        SnapshotExpiredError: the lake snapshot is older than the lake's retention.
    """
    dataset = request.dataset
    with _session(sources, request, snapshot) as connection:
        _check_again(connection, request)
        read = current_snapshot(connection) if dataset.origin is Origin.LAKE else None
        version = (
            _published_version(connection, request)
            if read is None
            else _lake_version(connection, read)
        )
        totals = _totals(connection, sources, request)
        yield ExportRows(
            description=Description(
                title=dataset.title,
                columns=tuple(column.written() for column in request.columns),
                filters=request.labels,
                data_version=version.data_version,
                as_of=version.as_of,
                time_zone=ZoneInfo(sources.time_zone),
                series=request.series,
            ),
            totals=totals,
            lake_snapshot=read,
            is_complete=version.is_complete,
            batches=_batches(connection, sources, request, totals.rows, batch_rows),
        )


def warehouse_catalogue(
    connection: psycopg.Connection[Any], events: Sequence[int], ticket_types: Sequence[int]
) -> Catalogue:
    """Which of the named events and ticket types are published; see ``requests.named``.

    Args:
        connection: as a role that may read ``reporting``, with ``row_factory=dict_row``.
    """
    values = {"events": list(events), "ticket_types": list(ticket_types)}
    rows = connection.execute(_text("warehouse_catalogue.sql").encode(), values).fetchall()
    return _catalogue((row["what"], row["key"], row["owner"]) for row in rows)


def _catalogue(rows: Iterator[tuple[str, int, int]]) -> Catalogue:
    owners: dict[str, dict[int, int]] = {"event": {}, "ticket_type": {}}
    for what, key, owner in rows:
        owners[what][key] = owner
    return Catalogue(events=owners["event"], ticket_types=owners["ticket_type"])


@contextmanager
def _session(
    sources: Sources, request: ExportRequest, snapshot: int | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    with sources.lake.session() as connection:
        if request.dataset.origin is Origin.WAREHOUSE:
            if snapshot is not None:
                raise ValueError(f"{request.dataset.name} is not read from the lake")
            quoted = sources.warehouse_url.replace("'", "''")
            connection.execute(f"ATTACH '{quoted}' AS warehouse (TYPE postgres, READ_ONLY)")
        elif snapshot is not None:
            connection.execute("DETACH lake")
            sources.lake.attach_snapshot(connection, snapshot, "lake")
        if _keyed(request):
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
    values = {"events": list(events), "ticket_types": list(ticket_types)}
    found = _run(connection, _text("lake_catalogue.sql"), values).fetchall()
    names = [column.name for column in request.columns]
    catalogue = _catalogue((row[0], row[1], row[2]) for row in found)
    validate(request.dataset.name, raw, names, request.requester, catalogue)


def _lake_version(connection: duckdb.DuckDBPyConnection, snapshot: int) -> _Version:
    row = connection.execute(
        "SELECT snapshot_time FROM ducklake_snapshots('lake') WHERE snapshot_id = $snapshot",
        {"snapshot": snapshot},
    ).fetchone()
    if row is None:
        raise NotPublishedError(f"lake snapshot {snapshot} is not there")
    return _Version(f"lake-{snapshot}", row[0])


def _published_version(connection: duckdb.DuckDBPyConnection, request: ExportRequest) -> _Version:
    """Hash of the versions of every partition that is read, and when the newest was published."""
    days: Days | None = getattr(request.filters, "days", None)
    if request.dataset.period in ("week", "month"):
        days = getattr(request.filters, "starting", None)
    digest, published, complete = hashlib.sha256(), [], True
    for number, table in enumerate(request.dataset.tables):
        bounded = number == 0 and request.dataset.period != "all" and days is not None
        found = _run(
            connection,
            _text("publications.sql"),
            {
                "dataset": table,
                "first": days.first.isoformat() if bounded and days and days.first else None,
                "last": days.last.isoformat() if bounded and days and days.last else None,
            },
        ).fetchall()
        if not found:
            within = f" {days}" if bounded else ""
            raise NotPublishedError(
                f"nothing of {table}{within} is published yet; materialize it, then export again"
            )
        for name, key, version, at, is_complete in found:
            digest.update(f"{name}\0{key}\0{version}\n".encode())
            published.append(at)
            complete = complete and (is_complete or number > 0)
    return _Version(digest.hexdigest()[:16], max(published), complete)


def _totals(
    connection: duckdb.DuckDBPyConnection, sources: Sources, request: ExportRequest
) -> ControlTotals:
    statement = _render(f"{request.dataset.statement}_totals.sql", request)
    result = _run(connection, statement, _parameters(sources, request))
    names = [description[0] for description in result.description]
    rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    money: dict[str, dict[str, int]] = {}
    counts = {c.name: 0 for c in request.columns if c.kind is Kind.INTEGER and c.total}
    for row in rows:
        for column in request.columns:
            if column.kind is Kind.MONEY and row[column.name] is not None:
                money.setdefault(row["currency"], {})[column.name] = int(row[column.name])
        for name in counts:
            counts[name] += int(row[name] or 0)
    return ControlTotals(
        rows=sum(row["row_count"] for row in rows),
        money={code: money[code] for code in sorted(money)},
        counts=counts,
    )


def _batches(
    connection: duckdb.DuckDBPyConnection,
    sources: Sources,
    request: ExportRequest,
    expected: int,
    batch_rows: int,
) -> Iterator[pl.DataFrame]:
    statement = (
        _environment()
        .from_string(_text("rows.sql"))
        .render(
            columns=[
                f"{mask_sql(f'found.{column.name}', given)} AS {column.name}"
                for column in request.columns
                for given in (request.treatment(column),)
            ],
            relation=_render(f"{request.dataset.statement}.sql", request),
            search=_search(request),
            order=request.dataset.order,
        )
    )
    read = 0
    reader = _run(connection, statement, _parameters(sources, request)).to_arrow_reader(batch_rows)
    for batch in reader:
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


def _parameters(sources: Sources, request: ExportRequest) -> dict[str, object]:
    return {
        "organizer_id": request.requester.organizer_id,
        **request.filters.parameters(sources.time_zone),
    }


def _search(request: ExportRequest) -> str | None:
    """Condition of a search over what the requester sees clear; None where nothing is sought."""
    if getattr(request.filters, "search", None) is None:
        return None
    conditions = [
        search_sql(column.name, request.treatment(column), whole=column.searched == "whole")
        for column in request.dataset.columns
        if column.searched
    ]
    return f"({' OR '.join(condition for condition in conditions if condition)})"


def _keyed(request: ExportRequest) -> bool:
    return any(
        column.name == _PERSONAL_KEY and request.treatment(column) is Treatment.PSEUDONYM
        for column in request.columns
    )


def _render(name: str, request: ExportRequest) -> str:
    dataset = request.dataset
    return (
        _environment()
        .from_string(_text(name))
        .render(
            scoped=request.filters.events is not None or request.requester.organizer_id is not None,
            keyed=_keyed(request),
            search=_search(request),
            summed=[c.name for c in dataset.columns if c.kind is Kind.MONEY or c.total],
            table=dataset.tables[0] if dataset.tables else None,
            period=dataset.period,
            day=dataset.order[0],
        )
    )


def _run(
    connection: duckdb.DuckDBPyConnection, statement: str, values: Mapping[str, object]
) -> duckdb.DuckDBPyConnection:
    """Run a statement with those of the values it names; DuckDB refuses others."""
    names = set(_PARAMETER.findall(statement))
    return connection.execute(statement, {n: v for n, v in values.items() if n in names})


@cache
def _text(name: str) -> str:
    return (files("exports") / "sql" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    loader = FunctionLoader(_text)
    return Environment(undefined=StrictUndefined, autoescape=False, loader=loader)  # noqa: S701 - SQL
