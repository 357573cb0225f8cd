"""One event of an organizer over time: its sales, and where its revenue goes.

Belongs here: the sales chart and the revenue overview. Does not belong here: summaries over all
days (``organizer_events``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from fastapi import Query

from api.answers import Answer, Json, joined, meta, money, ratio, record
from api.calls import Caller, Read
from api.database import Reading, Row, Texts
from api.periods import Coverage, Granularity, Periods
from api.policy import Access
from api.problems import Kind
from api.publications import Partition, Shelf
from api.routes import organizer_examples
from api.routes.organizer_metrics import BRIDGES, OVERVIEW, RETURNED, SALES, TYPE_SALES, WATERFALL
from api.routes.organizer_shared import (
    EventNumber,
    RangeQuery,
    calls,
    event_of,
    named,
    newest_day,
    oldest_day,
    ratios,
    shown_sums,
    sums,
)
from api.statements import statement
from api.written import Line, table, write
from metrics.calendar import business_date, month_start, next_month, parse_date, week_start
from metrics.datasets import (
    DAILY_METRICS,
    DAILY_PAYMENTS,
    DAILY_TICKET_TYPES,
    DATASETS,
    EVENT_SUMMARY,
    MONTHLY_REVENUE,
    WEEKLY_REVENUE,
)
from metrics.registry import METRICS, MONEY

router = calls()
_DAILY, _PAYMENTS, _TYPES = DAILY_METRICS.name, DAILY_PAYMENTS.name, DAILY_TICKET_TYPES.name
_SUMMARY = EVENT_SUMMARY.name
_DAY = timedelta(days=1)

# --- Sales chart --------------------------------------------------------------------------------

_TYPE = ("ticket_type_id", "ticket_type_name", "ticket_type_kind")
_PERIOD_OF_DAY: Mapping[Granularity, str] = {
    "daily": "business_date",
    "weekly": "date_trunc('week', business_date)::date",
    "monthly": "date_trunc('month', business_date)::date",
}
_START_OF: Mapping[Granularity, Callable[[date], date]] = {
    "daily": lambda day: day,
    "weekly": week_start,
    "monthly": month_start,
}


class ChartQuery(RangeQuery):
    """Which sales: those since the first order where no first day is named."""

    granularity: Granularity = "daily"
    by: Literal["total", "ticket_type"] = "total"


@router.answer(
    "/sales-chart/{event}",
    access=Access.ORGANIZER_ANALYTICS,
    reads=(_DAILY, WEEKLY_REVENUE.name, MONTHLY_REVENUE.name, _TYPES, _SUMMARY),
    shows=dict[str, Any],
    example=organizer_examples.SALES_CHART,
    problem_kinds=(Kind.NOT_FOUND,),
)
async def sales_chart(
    read: Read, caller: Caller, event: EventNumber, query: Annotated[ChartQuery, Query()]
) -> Answer:
    """Sales of an event by day, ISO week or month, in total or by ticket type.

    Every point has the sum since sales began, too.
    """
    asked = {"event": event, "events": [event], "organizer": named(caller, query.organizer)}
    about = statement("organizer_events", metrics=()), asked
    first, last = query.from_, query.to
    if first is None or last is None:
        [found] = await read.batch(about)
        first, last = await _life(read, event_of(found), query)
    periods = Periods(query.granularity, first, last)
    has_types = query.by == "ticket_type"
    dataset = _TYPES if has_types else periods.dataset
    until = _end(periods)
    days = has_types and periods.granularity != "daily"
    keys = {
        "dataset": dataset,
        "first_key": periods.starts[0].isoformat(),
        "last_key": (until if days else periods.starts[-1]).isoformat(),
    }
    names = TYPE_SALES if has_types else SALES
    column = DATASETS[dataset].grain[0].name
    blocks = {
        "dataset": dataset,
        "column": column,
        "period": _PERIOD_OF_DAY[periods.granularity] if has_types else column,
        "metrics": names,
        "has_types": "yes" if has_types else "",
    }
    found, rows, restated = await read.batch(
        about,
        Texts(
            statement("organizer_event_sales", **blocks),
            {**asked, "first": periods.starts[0], "last": until},
        ),
        (statement("organizer_event_restated"), {**asked, **keys}),
        only=True,
    )
    row = event_of(found)
    coverage = Coverage(
        periods,
        dataset,
        await read.shelf(dataset),
        frozenset(one["partition_key"] for one in restated),
    )
    if days:
        coverage = _of_days(coverage, until)
    sales_days = await read.shelf(_TYPES if has_types else _DAILY)
    gap = _first_gap(row, sales_days, read.time_zone)
    has_all = [True] * len(periods.starts)
    if gap is not None:
        has_all = [end < gap for end in (*(start - _DAY for start in periods.starts[1:]), until)]
    lines = _lines(rows, names, row["currency"], has_types=has_types)
    series = write(coverage, names, lines, has_all=has_all)
    currencies = {row["currency"], *(line.currency for line in lines)}
    described = meta(read, coverage=coverage, currencies=currencies)
    data = {"event": record(row), "by": query.by}
    return Answer(joined(data, "series", series), described, table=lambda: _chart_rows(series))


async def _life(read: Reading, row: Row, query: ChartQuery) -> tuple[date, date]:
    """From the first order to the newest published day, where the range is not named."""
    shelf = await read.shelf(_DAILY)
    last = query.to or max(query.from_ or date.min, newest_day(shelf, read.time_zone))
    first = query.from_ or row["first_sale_date"] or oldest_day(shelf, read.time_zone)
    return (first if query.from_ else min(first, last)), last


def _end(periods: Periods) -> date:
    """Last day of the last period."""
    last = periods.starts[-1]
    match periods.granularity:
        case "weekly":
            return last + 6 * _DAY
        case "monthly":
            return next_month(last) - _DAY
        case _:
            return last


def _of_days(coverage: Coverage, until: date) -> Coverage:
    """What is known of weeks or months that are sums of days: as much as of all their days."""
    periods, shelf = coverage.periods, coverage.shelf
    start_of = _START_OF[periods.granularity]
    days: dict[date, list[Partition | None]] = {start: [] for start in periods.starts}
    day = periods.starts[0]
    while day <= until:
        days[start_of(day)].append(shelf.partitions.get(day.isoformat()))
        day += _DAY
    partitions: dict[str, Partition] = {}
    for start, parts in days.items():
        there = [part for part in parts if part is not None]
        if there:
            is_whole = len(there) == len(parts)
            partitions[start.isoformat()] = Partition(
                is_complete=is_whole and all(part.is_complete for part in there),
                is_final=is_whole and all(part.is_final for part in there),
                published_at=max(part.published_at for part in there),
            )

    def starts(keys: frozenset[str]) -> frozenset[str]:
        return frozenset(start_of(parse_date(key)).isoformat() for key in keys)

    grouped = replace(shelf, partitions=partitions, held_back=starts(shelf.held_back))
    return replace(coverage, shelf=grouped, restated=starts(coverage.restated))


def _currencies(rows: Sequence[Row]) -> list[str]:
    return sorted({row["currency"] for row in rows})


def _first_gap(row: Row, shelf: Shelf, time_zone: str) -> date | None:
    """The first day on which the event was on sale and which is not published."""
    opened, newest = row["on_sale_at"], newest_day(shelf, time_zone)
    day = row["first_sale_date"] if opened is None else business_date(time_zone, opened)
    while day is not None and day <= newest:
        if day.isoformat() not in shelf.partitions:
            return day
        day += _DAY
    return None


def _lines(
    rows: Sequence[Any], names: Sequence[str], currency: str, *, has_types: bool
) -> list[Line]:
    """Series with what was before them; of the event's own currency even where nothing was sold."""
    found = []
    for code, *values in rows:
        types = dict(zip(_TYPE, values, strict=False)) if has_types else {}
        rest = values[len(types) :]
        before = [*map(int, rest[: len(names)])]
        shown = shown_sums(dict(zip(names, before, strict=True)), names, code)
        head = {**types, "currency": code, "before": shown}
        found.append(Line.of(head, code, rest[len(names) :], before))
    if not has_types and all(line.currency != currency for line in found):
        head = {
            "currency": currency,
            "before": shown_sums(dict.fromkeys(names, 0), names, currency),
        }
        found.append(Line.of(head, currency, [""] * (1 + len(names)), [0] * len(names)))
    return sorted(found, key=lambda line: (str(line.head.get(_TYPE[0], "")), line.currency))


def _chart_rows(series: Json) -> list[dict[str, Any]]:
    """Points as flat rows: ``cumulative_<metric>`` beside ``<metric>``."""
    rows = []
    for row in table(series):
        del row["before"]
        so_far = row.pop("cumulative")
        rows.append(row | {f"cumulative_{name}": value for name, value in so_far.items()})
    return rows


# --- Revenue overview ---------------------------------------------------------------------------

_METHOD = ("provider", "instrument")


@router.answer(
    "/revenue-overview/{event}",
    access=Access.ORGANIZER_ANALYTICS,
    reads=(_DAILY, _PAYMENTS, _SUMMARY),
    shows=dict[str, Any],
    example=organizer_examples.REVENUE_OVERVIEW,
    problem_kinds=(Kind.NOT_FOUND,),
)
async def revenue_overview(
    read: Read, caller: Caller, event: EventNumber, query: Annotated[RangeQuery, Query()]
) -> Answer:
    """Where the revenue of an event goes: from what buyers were charged to the organizer's net.

    With payment methods, refunds and average order value; over all published days where no range
    is named.
    """
    asked = {"event": event, "events": [event], "organizer": named(caller, query.organizer)}
    shelf = await read.shelf(_DAILY)
    last = query.to or max(query.from_ or date.min, newest_day(shelf, read.time_zone))
    first = query.from_ or min(last, oldest_day(shelf, read.time_zone))
    periods = Periods("daily", first, last)
    given = {**asked, **periods.parameters}
    keys = {"dataset": _DAILY, "first_key": first.isoformat(), "last_key": last.isoformat()}
    found, totals, methods, restated = await read.batch(
        (statement("organizer_events", metrics=()), asked),
        (statement("organizer_event_sums", dataset=_DAILY, by=(), metrics=OVERVIEW), given),
        (
            statement(
                "organizer_event_sums",
                dataset=_PAYMENTS,
                by=_METHOD,
                metrics=DAILY_PAYMENTS.metric_names,
            ),
            given,
        ),
        (statement("organizer_event_restated"), {**asked, **keys}),
    )
    row = event_of(found)
    keyed = frozenset(one["partition_key"] for one in restated)
    coverage = Coverage(periods, _DAILY, shelf, keyed)
    is_loaded = any(start.isoformat() in shelf.partitions for start in periods.starts)
    currencies = sorted({row["currency"], *_currencies(totals), *_currencies(methods)})
    by_currency = [
        _overview(
            [one for one in totals if one["currency"] == code] if is_loaded else None,
            [one for one in methods if one["currency"] == code],
            code,
        )
        for code in currencies
    ]
    described = meta(
        read, coverage=coverage, shelves=[await read.shelf(_PAYMENTS)], currencies=currencies
    )
    data = {"event": record(row), "currencies": by_currency}
    return Answer(data, described, table=lambda: _overview_rows(by_currency))


def _overview(rows: Sequence[Row] | None, methods: Sequence[Row], currency: str) -> dict[str, Any]:
    """Everything in one currency; nulls where no day is loaded."""
    total = None if rows is None else sums(rows, OVERVIEW)
    names = DAILY_PAYMENTS.metric_names
    paid = sum(method["payments"] for method in methods)
    return {
        "currency": currency,
        "waterfall": _waterfall(total, currency),
        "payment_methods": [
            {
                **{name: method[name] for name in _METHOD},
                **shown_sums(method, names, currency),
                "share_of_payments": ratio(method["payments"], paid)["value"],
            }
            for method in methods
        ],
        "refunds": shown_sums(total, RETURNED, currency),
        "counts": shown_sums(
            total, [name for name in OVERVIEW if METRICS[name].unit != MONEY], currency
        ),
        "ratios": ratios(total, currency),
    }


def _waterfall(total: Mapping[str, int] | None, currency: str) -> list[dict[str, Any]]:
    """Steps that add up: every total is the one before, with the steps between them."""
    steps = []
    for name, kind in WATERFALL:
        if name in BRIDGES:
            above, below, definition = BRIDGES[name]
            value = None if total is None else total[above] - total[below]
        else:
            definition = METRICS[name].definition
            value = None if total is None else total[name]
        steps.append(
            {
                "step": name,
                "kind": kind,
                "amount": money(value, currency),
                "definition": definition,
            }
        )
    return steps


def _overview_rows(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The waterfall, then the payment methods, as flat rows."""
    steps = [
        {"row": "waterfall", "currency": one["currency"], **step}
        for one in found
        for step in one["waterfall"]
    ]
    methods = [
        {"row": "payment_method", "currency": one["currency"], **method}
        for one in found
        for method in one["payment_methods"]
    ]
    return steps + methods
