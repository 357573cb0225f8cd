"""The statements that read the rows of a request, in the order in which they must run.

Belongs here: what of a dataset a request needs, and how its rows are cut into parts that each need
little memory. Does not belong here: versions and control totals (``exports.reading``), or which
stored versions count (``exports.newest``).

Rows of one event come range by range of their keys, each joined and sorted by itself. Those of
several events are joined range by range too, as keys rise with time like the files of the lake,
and then sorted as a whole: a sort alone can be spilled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import cache

import duckdb

from exports import newest
from exports.columns import Kind
from exports.datasets import EVENT, ExportColumn
from exports.masking import CONSENT, Treatment, mask_sql, search_sql
from exports.newest import HOLDERS, SCANS, STORED, Range, StoredFact, Versions
from exports.requests import ExportRequest
from exports.statements import render, run, text
from metrics.money import currency_exponents

_PERSONAL_KEY = "attendee_key"
_HELD = {"attendee_name", "attendee_email", "attendee_phone", _PERSONAL_KEY, CONSENT}
_SCANNED = {"checked_in", "checked_in_at"}
_LEGS = 2
"""Movements of a raw row, more or less."""
DayRange = tuple[date, date]
"""Days from the first to the last, both included."""


def row_statements(
    connection: duckdb.DuckDBPyConnection, request: ExportRequest, time_zone: str, by_event: bool
) -> Iterator[str]:
    """Statements whose rows, one after the other, are those of the export in their order."""
    if request.dataset.statement == "movements":
        yield from _movement_statements(connection, request, time_zone, by_event)
        return
    fact = STORED.get(request.dataset.statement)
    if fact is None:
        yield _row_statement(request, by_event)
        return
    joined = _joined(request)
    versions = Versions(connection, _is_scoped(request), fact, joined)
    values = parameters(request, time_zone)
    versions.prepare(values)
    one_event = versions.is_one_event()
    ranges = versions.ranges(newest.SLICE_ROWS) if one_event or joined else []
    if len(ranges) <= 1:
        yield _row_statement(request, by_event)
    elif one_event:
        for between in ranges:
            yield _row_statement(request, by_event, between)
    else:
        yield _staged(connection, request, time_zone, by_event, ranges)


def _movement_statements(
    connection: duckdb.DuckDBPyConnection, request: ExportRequest, time_zone: str, by_event: bool
) -> Iterator[str]:
    """Some days at a time: that is the order of the ledger, and of the files it is read from."""
    ranges = _day_ranges(connection, request)
    if len(ranges) <= 1:
        yield _row_statement(request, by_event)
    elif by_event:
        yield _staged(connection, request, time_zone, by_event, ranges)
    else:
        for between in ranges:
            yield _row_statement(request, by_event, between)


def _staged(
    connection: duckdb.DuckDBPyConnection,
    request: ExportRequest,
    time_zone: str,
    by_event: bool,
    ranges: Sequence[Range | DayRange],
) -> str:
    """Read the parts into a temporary table; the statement that sorts them."""
    values = parameters(request, time_zone)
    for number, between in enumerate(ranges):
        into = "INSERT INTO staged" if number else "CREATE TEMP TABLE staged AS"
        run(connection, _row_statement(request, by_event, between, into), values)
    return render("staged.sql", **_shown(request, by_event))


def _day_ranges(connection: duckdb.DuckDBPyConnection, request: ExportRequest) -> list[DayRange]:
    """Adjacent days with at most about ``SLICE_ROWS`` movements; together all days there are."""
    days = request.days
    asked = {"first": days.first if days else None, "last": days.last if days else None}
    values = {"facts": list(request.dataset.facts), **asked}
    starts, weight = [date.min], 0
    for day, rows in run(connection, text("rows_by_day.sql"), values).fetchall():
        weight += rows * _LEGS
        if weight > newest.SLICE_ROWS and day > starts[-1]:
            starts.append(day)
            weight = rows * _LEGS
    ends = [start - timedelta(days=1) for start in starts[1:]]
    return list(zip(starts, [*ends, date.max], strict=True))


def _row_statement(
    request: ExportRequest,
    by_event: bool,
    between: Range | DayRange | None = None,
    into: str | None = None,
) -> str:
    return render(
        "rows.sql",
        masked={
            column.name: mask_sql(f"found.{column.name}", request.treatment(column))
            for column in request.columns
        },
        currencies=_currencies(),
        relation=request_statement(f"{request.dataset.statement}.sql", request, between=between),
        search=_search(request),
        into=into,
        **_shown(request, by_event),
    )


def _shown(request: ExportRequest, by_event: bool) -> dict[str, object]:
    order, names = request.dataset.order, {column.name for column in request.columns}
    return {
        "columns": request.columns,
        "event": EVENT if by_event and EVENT not in names else None,
        "order": tuple(dict.fromkeys((EVENT, *order)) if by_event else order),
    }


def _joined(request: ExportRequest) -> tuple[StoredFact, ...]:
    """What is looked up for each row, because it is shown or looked at."""
    if request.dataset.statement != "attendees":
        return ()
    needed = {column.name for column in request.columns}
    if getattr(request.filters, "search", None) is not None:
        needed |= {
            column.name
            for column in request.dataset.columns
            if column.searched and _search_in(request, column)
        }
    if getattr(request.filters, "checked_in", None) is not None:
        needed |= _SCANNED
    return (*([HOLDERS] if needed & _HELD else ()), *([SCANS] if needed & _SCANNED else ()))


@cache
def _currencies() -> dict[int, tuple[str, ...]]:
    """Decimal places → the currencies that have so many."""
    codes: dict[int, tuple[str, ...]] = {}
    for code, places in sorted(currency_exponents().items()):
        codes[places] = (*codes.get(places, ()), code)
    return codes


def parameters(request: ExportRequest, time_zone: str) -> dict[str, object]:
    """Values for the parameters of a request's statements."""
    return {
        "organizer_id": request.requester.organizer_id,
        **request.filters.parameters(time_zone),
    }


def _search(request: ExportRequest) -> str | None:
    """Condition of a search over what the requester sees clear; None where nothing is sought."""
    if getattr(request.filters, "search", None) is None:
        return None
    conditions = [_search_in(request, c) for c in request.dataset.columns if c.searched]
    return f"({' OR '.join(condition for condition in conditions if condition)})"


def _search_in(request: ExportRequest, column: ExportColumn) -> str | None:
    whole = column.searched == "whole"
    return search_sql(column.name, request.treatment(column), whole=whole)


def is_keyed(request: ExportRequest) -> bool:
    """Whether pseudonyms are computed, for which the macro ``buyer_key`` is needed."""
    return any(
        column.name == _PERSONAL_KEY and request.treatment(column) is Treatment.PSEUDONYM
        for column in request.columns
    )


def _is_scoped(request: ExportRequest) -> bool:
    return request.filters.events is not None or request.requester.organizer_id is not None


def request_statement(
    name: str,
    request: ExportRequest,
    *,
    by_event: bool = False,
    between: Range | DayRange | None = None,
) -> str:
    """A statement of the dataset: its rows, unmasked and unsorted, or its totals."""
    dataset, joined = request.dataset, _joined(request)
    return render(
        name,
        scoped=_is_scoped(request),
        between=between,
        with_holders=HOLDERS in joined,
        with_scans=SCANS in joined,
        keyed=is_keyed(request),
        by_event=by_event,
        search=_search(request),
        summed=[c.name for c in dataset.columns if c.kind is Kind.MONEY or c.total],
        table=dataset.tables[0] if dataset.tables else None,
        period=dataset.period,
        day=dataset.order[0],
    )
