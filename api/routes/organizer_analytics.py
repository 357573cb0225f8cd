"""An organizer's numbers over all their events: the dashboard and revenue trends.

Belongs here: endpoints about all events of an organizer, and the list of these routers. Does not
belong here: single events (``organizer_events``, ``organizer_sales``), or the passport of a number
(``organizer_explain``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from api.answers import Answer, joined, meta, record
from api.calls import Caller, Calls, Read
from api.database import Row
from api.periods import Coverage, Granularity, Periods
from api.policy import Access
from api.problems import Kind, not_found
from api.routes import organizer_events, organizer_examples, organizer_explain, organizer_sales
from api.routes.organizer_metrics import COUNTS, FLOW, LEADING, SHOWN, UPCOMING
from api.routes.organizer_shared import (
    EventList,
    RangeQuery,
    Windows,
    as_of,
    calls,
    event_numbers,
    flat_comparisons,
    newest_day,
    range_of,
    ratios,
    required,
    sell_through,
    shown_sums,
)
from api.statements import statement
from api.written import Line, by_currency, lines_by_currency, table, write
from metrics.calendar import day_start
from metrics.datasets import DAILY_METRICS, EVENT_SUMMARY, MONTHLY_REVENUE, WEEKLY_REVENUE

router = calls()
ROUTERS: tuple[Calls, ...] = (
    router,
    organizer_events.router,
    organizer_sales.router,
    organizer_explain.router,
)
_DAILY, _SUMMARY = DAILY_METRICS.name, EVENT_SUMMARY.name


class DashboardQuery(RangeQuery):
    """Whose dashboard, over which days."""

    recent_days: int = Field(7, ge=1, le=31, description="Newest days shown one by one.")
    upcoming: int = Field(10, ge=0, le=100, description="Events to come that are listed.")


@router.answer(
    "/dashboard-overview",
    access=Access.ORGANIZER_ANALYTICS,
    reads=(_DAILY, _SUMMARY),
    shows=dict[str, Any],
    example=organizer_examples.DASHBOARD,
    problem_kinds=(Kind.NOT_FOUND,),
)
async def dashboard_overview(
    read: Read, caller: Caller, query: Annotated[DashboardQuery, Query()]
) -> Answer:
    """An organizer's events, revenue and tickets, what is to come, and the newest sales.

    Revenue and tickets stand beside those of the period before and of 364 days before, over the
    same number of complete days.
    """
    organizer = required(caller, query.organizer)
    shelf = await read.shelf(_DAILY)
    first, last = range_of(query, shelf, read.time_zone)
    periods = Periods("daily", first, last)
    newest = newest_day(shelf, read.time_zone)
    recent = Periods("daily", newest - timedelta(days=query.recent_days - 1), newest)
    windows = Windows(shelf, first, last)
    since = {"organizer": organizer, "since": day_start(read.time_zone, newest)}
    limited = {**since, "limit": query.upcoming}
    catalogue, upcoming, rows, recent_rows, restated = await read.batch(
        (statement("organizer_catalogue"), since),
        (statement("organizer_upcoming", metrics=UPCOMING), limited),
        (
            statement("organizer_window_sums", metrics=SHOWN),
            {"organizer": organizer, **windows.parameters},
        ),
        by_currency(recent, SHOWN, {"organizer_id": organizer}),
        _restated(periods, organizer, None, recent),
    )
    _must_exist(catalogue, rows, is_all=caller.organizer_id is None)
    keys = frozenset(row["partition_key"] for row in restated)
    coverage = Coverage(periods, _DAILY, shelf, keys)
    recent_lines = _lines(recent_rows, {row["currency"] for row in (*catalogue, *rows)})
    currencies = [line.currency for line in recent_lines]
    revenue = []
    for currency in currencies:
        own = _in(rows, currency)
        total = windows.total(own, SHOWN)
        revenue.append(
            {
                "currency": currency,
                "metrics": shown_sums(total, FLOW, currency),
                "aov": ratios(total, currency).get("aov"),
                "comparison": windows.comparisons(own, FLOW, currency),
            }
        )
    tickets = {
        "metrics": shown_sums(windows.total(rows, COUNTS), COUNTS, ""),
        "comparison": windows.comparisons(rows, COUNTS, ""),
    }
    recent_sales = write(Coverage(recent, _DAILY, shelf, keys), SHOWN, recent_lines)
    data = {
        "organizer": {
            "organizer_id": str(organizer),
            "organizer_name": catalogue[0]["organizer_name"] if catalogue else None,
        },
        "as_of": as_of(shelf, read.time_zone),
        "compared": windows.shown(),
        "events": {
            "total": sum(row["events"] for row in catalogue),
            "upcoming": sum(row["upcoming"] for row in catalogue),
            "by_status": {
                status: sum(row["events"] for row in found)
                for status, found in groupby(catalogue, key=lambda row: row["status"])
            },
        },
        "revenue": revenue,
        "tickets": tickets,
        "upcoming_events": [{**record(row), "sell_through": sell_through(row)} for row in upcoming],
    }
    described = meta(
        read, coverage=coverage, shelves=[await read.shelf(_SUMMARY)], currencies=currencies
    )
    whole = joined(data, "recent_sales", recent_sales)
    return Answer(whole, described, table=lambda: table(recent_sales))


class TrendsQuery(RangeQuery):
    """Whose trends, over which days."""

    granularity: Granularity = "daily"
    events: EventList | None = None


@router.answer(
    "/revenue-trends",
    access=Access.ORGANIZER_ANALYTICS,
    reads=(_DAILY, WEEKLY_REVENUE.name, MONTHLY_REVENUE.name, _SUMMARY),
    shows=dict[str, Any],
    example=organizer_examples.TRENDS,
    problem_kinds=(Kind.NOT_FOUND,),
)
async def revenue_trends(
    read: Read, caller: Caller, query: Annotated[TrendsQuery, Query()]
) -> Answer:
    """Revenue of all or some events of an organizer, as series and in comparison.

    Totals stand beside those of the period before and of 364 days before, over the same number of
    complete days.
    """
    organizer = required(caller, query.organizer)
    events = None if query.events is None else event_numbers(query.events)
    shelf = await read.shelf(_DAILY)
    first, last = range_of(query, shelf, read.time_zone)
    periods = Periods(query.granularity, first, last)
    windows = Windows(shelf, first, last)
    since = {"organizer": organizer, "since": day_start(read.time_zone, last)}
    chosen = {"organizer": organizer, "events": events or []}
    asked: dict[str, object] = {"organizer_id": organizer}
    if events is not None:
        asked["event_id"] = events
    catalogue, known, rows, series_rows, restated = await read.batch(
        (statement("organizer_catalogue"), since),
        (statement("organizer_events", metrics=()), chosen),
        _windows(windows, organizer, events),
        by_currency(periods, SHOWN, asked),
        _restated(periods, organizer, events, periods),
    )
    if events is not None and len(known) < len(events):
        raise not_found()
    _must_exist(catalogue, rows, is_all=caller.organizer_id is None)
    keys = frozenset(row["partition_key"] for row in restated)
    coverage = Coverage(periods, periods.dataset, await read.shelf(periods.dataset), keys)
    sold_in = known if events is not None else catalogue
    lines = _lines(series_rows, {row["currency"] for row in (*sold_in, *rows)})
    currencies = [line.currency for line in lines]

    def totals(found: Sequence[Row], currency: str, compared: Sequence[str]) -> dict[str, Any]:
        total = windows.total(found, SHOWN)
        return {
            "metrics": shown_sums(total, SHOWN, currency),
            "aov": ratios(total, currency).get("aov"),
            "comparison": windows.comparisons(found, compared, currency),
        }

    series = write(coverage, SHOWN, lines)
    by_event = []
    for (event_id, currency), found in groupby(
        rows, key=lambda row: (row["event_id"], row["currency"])
    ):
        own = list(found)
        head = {name: own[0][name] for name in ("event_name", "status")}
        described = {"event_id": str(event_id), **head, "currency": currency}
        by_event.append(described | totals(own, currency, LEADING))
    data = {
        "organizer_id": str(organizer),
        "as_of": as_of(shelf, read.time_zone),
        "compared": windows.shown(),
        "totals": [
            {"currency": code, **totals(_in(rows, code), code, SHOWN)} for code in currencies
        ],
        "events": by_event,
    }
    described = meta(read, coverage=coverage, shelves=[shelf], currencies=currencies)
    whole = joined(data, "series", series)
    return Answer(whole, described, table=lambda: _trend_rows(data, table(series)))


def _trend_rows(data: dict[str, Any], found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points first, then a row for each event with its comparisons."""
    points = [{"row": "point", **point} for point in found]
    events = [
        {
            "row": "event",
            **{name: one[name] for name in ("event_id", "event_name", "status", "currency")},
            **one["metrics"],
            **flat_comparisons(one["comparison"]),
        }
        for one in data["events"]
    ]
    return points + events


# --- Statements ---------------------------------------------------------------------------------

_Asked = tuple[bytes, dict[str, Any]]


def _windows(windows: Windows, organizer: int, events: list[int] | None) -> _Asked:
    given = {"organizer": organizer, "events": events, **windows.parameters}
    return statement("organizer_windows", metrics=SHOWN), given


def _restated(periods: Periods, organizer: int, events: list[int] | None, also: Periods) -> _Asked:
    return statement("organizer_restated"), {
        "dataset": periods.dataset,
        "organizer": organizer,
        "events": events,
        "first_key": min(periods.starts[0], also.starts[0]).isoformat(),
        "last_key": max(periods.starts[-1], also.starts[-1]).isoformat(),
    }


def _in(rows: Iterable[Row], currency: str) -> list[Row]:
    return [row for row in rows if row["currency"] == currency]


def _lines(rows: Sequence[Any], currencies: Iterable[str]) -> list[Line]:
    """Series of what was found, and of currencies in which nothing was."""
    found = lines_by_currency(rows)
    without = set(currencies) - {line.currency for line in found}
    nothing = [""] * (1 + len(SHOWN))
    found += [Line.of({"currency": code}, code, nothing) for code in without]
    return sorted(found, key=lambda line: line.currency)


def _must_exist(catalogue: Sequence[Row], rows: Sequence[Row], *, is_all: bool) -> None:
    """An organizer that an administrator named has to be there; one's own always is."""
    if is_all and not catalogue and not rows:
        raise not_found()
