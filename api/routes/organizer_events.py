"""Single events of an organizer: what one is, and several side by side.

Belongs here: summaries over all published days, and comparing events after the same number of days
on sale. Does not belong here: series (``organizer_sales``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import Query

from api.answers import Answer, meta, record
from api.calls import Caller, Read
from api.database import Row
from api.policy import Access
from api.problems import Kind
from api.publications import Shelf
from api.routes import organizer_examples
from api.routes.organizer_metrics import SHOWN
from api.routes.organizer_shared import (
    EventList,
    EventNumber,
    OrganizerQuery,
    all_events,
    calls,
    event_numbers,
    event_of,
    named,
    ratios,
    sell_through,
    shown_sums,
    sums,
)
from api.statements import statement
from metrics.calendar import business_date
from metrics.datasets import DAILY_METRICS, EVENT_SUMMARY

router = calls()
_DAILY, _SUMMARY = DAILY_METRICS.name, EVENT_SUMMARY.name
_METRICS = EVENT_SUMMARY.metric_names
_DAY = timedelta(days=1)


def _summary(row: Row) -> dict[str, Any]:
    """An event with its metrics over all published days."""
    values = {name: row[name] for name in _METRICS}
    about = {name: value for name, value in row.items() if name not in values}
    currency = row["currency"]
    return {
        "event": record(about),
        "metrics": shown_sums(values, _METRICS, currency),
        "ratios": ratios(values, currency),
        "sell_through": sell_through(row),
    }


def _row(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary as a flat row."""
    return {
        **summary["event"],
        **summary["metrics"],
        **summary["ratios"],
        "sell_through": summary["sell_through"],
    }


@router.answer(
    "/events/{event}/summary",
    access=Access.ORGANIZER_ANALYTICS,
    reads=(_SUMMARY,),
    shows=dict[str, Any],
    example=organizer_examples.SUMMARY,
    problem_kinds=(Kind.NOT_FOUND,),
)
async def event_summary(
    read: Read, caller: Caller, event: EventNumber, query: Annotated[OrganizerQuery, Query()]
) -> Answer:
    """An event: what it is, every metric over all its published days, ratios and sell-through."""
    asked = {"events": [event], "organizer": named(caller, query.organizer)}
    [rows] = await read.batch((statement("organizer_events", metrics=_METRICS), asked))
    data = _summary(event_of(rows))
    described = meta(
        read, shelves=[await read.shelf(_SUMMARY)], currencies=[data["event"]["currency"]]
    )
    return Answer(data, described, table=lambda: [_row(data)])


class CompareQuery(OrganizerQuery):
    """Which events."""

    events: EventList


@dataclass(frozen=True)
class _OnSale:
    """Complete reporting days on which an event was on sale.

    Attributes:
        first: None where the event has not been on sale on a complete day.
    """

    first: date | None
    days: int

    def window(self, days: int) -> list[date]:
        """Its first days on sale."""
        return [] if self.first is None else [self.first + _DAY * n for n in range(days)]


def _on_sale(row: Row, shelf: Shelf, time_zone: str) -> _OnSale:
    """From the day sales opened to the last complete day, or to the end of the event."""
    opened = row["on_sale_at"]
    first = row["first_sale_date"] if opened is None else business_date(time_zone, opened)
    last = shelf.complete_through
    if row["ends_at"] is not None and last is not None:
        last = min(last, business_date(time_zone, row["ends_at"]))
    if first is None or last is None or last < first:
        return _OnSale(None, 0)
    return _OnSale(first, (last - first).days + 1)


@router.answer(
    "/events/compare",
    access=Access.ORGANIZER_ANALYTICS,
    reads=(_DAILY, _SUMMARY),
    shows=dict[str, Any],
    example=organizer_examples.COMPARE,
    problem_kinds=(Kind.NOT_FOUND,),
)
async def compare_events(
    read: Read, caller: Caller, query: Annotated[CompareQuery, Query()]
) -> Answer:
    """Events side by side: over all published days, and after the same number of days on sale."""
    wanted = event_numbers(query.events, at_least=2)
    asked = {"events": wanted, "organizer": named(caller, query.organizer)}
    [known] = await read.batch((statement("organizer_events", metrics=_METRICS), asked))
    rows = all_events(known, wanted)
    shelf = await read.shelf(_DAILY)
    on_sale = {row["event_id"]: _on_sale(row, shelf, read.time_zone) for row in rows}
    days = min((found.days for found in on_sale.values() if found.days), default=0)
    windows = {number: found.window(days) for number, found in on_sale.items()}
    begun = {number: window for number, window in windows.items() if window}
    given = {
        "events": list(begun),
        "firsts": [window[0] for window in begun.values()],
        "lasts": [window[-1] for window in begun.values()],
    }
    [early] = await read.batch((statement("organizer_event_windows", metrics=SHOWN), given))
    found = []
    for row in rows:
        own = [one for one in early if one["event_id"] == row["event_id"]]
        at_equal_time = _at_equal_time(windows[row["event_id"]], own, row["currency"], shelf)
        found.append(_summary(row) | {"at_equal_time": at_equal_time})
    described = meta(
        read,
        shelves=[shelf, await read.shelf(_SUMMARY)],
        currencies={row["currency"] for row in (*rows, *early)},
    )
    data = {"days_on_sale_compared": days, "events": found}
    return Answer(data, described, table=lambda: [_compared_row(one) for one in found])


def _at_equal_time(
    window: Sequence[date], rows: Sequence[Row], currency: str, shelf: Shelf
) -> dict[str, Any]:
    """What an event had sold in its first days, and which of them are not published."""
    missing = [day.isoformat() for day in window if day.isoformat() not in shelf.partitions]
    is_loaded = len(missing) < len(window)
    values = sums([row for row in rows if row["currency"] == currency], SHOWN)
    return {
        "from": window[0].isoformat() if window else None,
        "to": window[-1].isoformat() if window else None,
        "is_complete": bool(window) and not missing,
        "missing": missing,
        "metrics": shown_sums(values if is_loaded else None, SHOWN, currency),
    }


def _compared_row(summary: dict[str, Any]) -> dict[str, Any]:
    early = summary["at_equal_time"]
    return _row(summary) | {f"at_equal_time_{name}": v for name, v in early["metrics"].items()}
