"""For administrators: the platform's numbers over all organizers.

Belongs here: overview, purchase requests and revenue. Does not belong here: one organizer's view,
or how trustworthy the numbers are (``api.routes.platform``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field

from api.answers import Answer, average, flat, meta, ratio, record, series
from api.calls import Calls, Parameters, Read
from api.database import Reading, Row, Texts
from api.periods import (
    ORGANIZER_DAYS,
    Coverage,
    Day,
    Granularity,
    Periods,
    read_covered,
    read_series,
    table_of,
)
from api.policy import Access
from api.problems import Kind, Problem
from api.publications import Partition, Shelf
from api.routes import admin_examples as examples
from api.routes.admin_examples import ADDITIVE, OUTCOMES, WATERFALL
from api.statements import statement
from api.written import Line, by_currency, lines_by_currency, table, write
from metrics.calendar import business_date, next_month
from metrics.datasets import (
    DAILY_METRICS,
    DAILY_PAYMENTS,
    EVENT_SUMMARY,
    MONTHLY_REVENUE,
    WEEKLY_REVENUE,
)
from metrics.registry import METRICS, MONEY, RATIOS

router = Calls("/api/v1/admin/analytics", "Platform analytics")

LEADER_METRICS = ("gross_revenue", "net_sales", "net_collected", "orders", "tickets_sold")
LEADERS = 5
OVERVIEW_DAYS = 30
MAX_POINTS = 5_000
_CONVERSIONS = ("request_conversion", "checkout_conversion", "visitor_conversion")
_PERIODIC = (DAILY_METRICS.name, WEEKLY_REVENUE.name, MONTHLY_REVENUE.name)
_NEWEST = 2**63 - 1
_DAY = timedelta(days=1)
_UNITS: Mapping[Granularity, str] = {"daily": "day", "weekly": "week", "monthly": "month"}
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "currency": (),
    "organizer": ("organizer_id",),
    "event": ("event_id",),
    "payment_method": ("provider", "instrument"),
}
_NAMED: Mapping[str, tuple[str, ...]] = {
    "organizer": ("organizer_id", "organizer_name"),
    "event": ("event_id", "event_name", "organizer_id"),
}


class _Range(Parameters):
    from_: Day = Field(alias="from", description="First reporting day.")
    to: Day = Field(description="Last reporting day; weeks and months are whole.")
    granularity: Granularity = "daily"
    organizer: int | None = Field(None, ge=1, le=_NEWEST, description="Of this organizer only.")
    event: int | None = Field(None, ge=1, le=_NEWEST, description="Of this event only.")

    @property
    def asked(self) -> dict[str, object]:
        """Columns that are filtered by, each with its value."""
        values = {"organizer_id": self.organizer, "event_id": self.event}
        return {name: value for name, value in values.items() if value is not None}


def _parameters(asked: Mapping[str, object]) -> dict[str, object]:
    return {f"{name}_asked": value for name, value in asked.items()}


def _quotient(name: str, values: Mapping[str, Any], currency: str | None) -> object:
    """A ratio of the registry; money per count is money."""
    found = RATIOS[name]
    above, below = values[found.numerator], values[found.denominator]
    if METRICS[found.numerator].unit != MONEY:
        return ratio(above, below)
    return average(above, below, currency)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics as numbers again, for quotients."""
    return {n: v["minor"] if isinstance(v, dict) else v for n, v in values.items()}


def _add_quotients(found: Iterable[dict[str, Any]], names: Sequence[str]) -> None:
    """Recompute ratios for the totals and every point of each series."""
    for one in found:
        for values in (one["totals"], *one["points"]):
            plain = _plain(values)
            for name in names:
                values[name] = _quotient(name, plain, one.get("currency"))


# --- Overview -----------------------------------------------------------------------------------


class OverviewQuery(Parameters):
    """Which days."""

    from_: Day | None = Field(
        None, alias="from", description="First reporting day; 30 days before the last if left out."
    )
    to: Day | None = Field(
        None, description="Last reporting day; the last complete one if left out."
    )


@router.answer(
    "/overview",
    access=Access.ADMIN_ANALYTICS,
    reads=(DAILY_METRICS.name, EVENT_SUMMARY.name),
    shows=dict[str, Any],
    example=examples.OVERVIEW,
    tabular=False,
)
async def overview(read: Read, query: Annotated[OverviewQuery, Query()]) -> Answer:
    """All organizers together: totals beside the days before, events, and who sold most.

    Money is per currency and never added across currencies. `previous` are the equally many days
    before the range; where some of them are not published, `previous_range.missing` names them.
    """
    first, last = _overview_days(query, await read.shelf(DAILY_METRICS.name), read)
    periods = Periods("daily", first, last)
    length = last - first + _DAY
    before = Periods("daily", first - length, first - _DAY)
    totals, coverage = await read_series(
        read,
        "admin_overview_totals",
        periods,
        blocks={"metrics": ADDITIVE},
        parameters={"before": before.first},
    )
    leaders = {"leaders": LEADERS, **periods.parameters}
    organizers, events, sold, states = await read.batch(
        (_leaders("organizer_id", "organizer_name", ORGANIZER_DAYS), leaders),
        (_leaders("event_id", "event_name", f"reporting.{DAILY_METRICS.name}"), leaders),
        (statement("admin_overview_sold"), periods.parameters),
        (statement("admin_overview_events"), {}),
    )
    summary = await read.shelf(EVENT_SUMMARY.name)
    earlier = Coverage(before, coverage.dataset, coverage.shelf, frozenset())
    data = {
        "range": {"from": first, "to": last, "days": length.days},
        "previous_range": {
            "from": before.first,
            "to": before.last,
            "missing": earlier.missing,
        },
        "currencies": _by_currency(
            totals,
            {row["currency"]: row["events"] for row in sold},
            loaded={True: _is_loaded(coverage), False: _is_loaded(earlier)},
        ),
        "events": {
            "total": sum(row["events"] for row in states),
            "upcoming": sum(row["upcoming"] for row in states),
            "by_status": {row["status"]: row["events"] for row in states},
        },
        "top_organizers": [_leader(row, "organizer") for row in organizers],
        "top_events": [_leader(row, "event") for row in events],
    }
    currencies = {row["currency"] for row in totals}
    found = meta(read, coverage=coverage, shelves=[summary], currencies=currencies)
    return Answer(data, found)


def _overview_days(query: OverviewQuery, shelf: Shelf, read: Reading) -> tuple[date, date]:
    last = query.to or shelf.complete_through
    if last is None:
        known = max(shelf.partitions, default=None)
        today = business_date(read.time_zone, datetime.now(UTC))
        last = today if known is None else date.fromisoformat(known)
    if query.to is None and query.from_ is not None:
        last = max(last, query.from_)
    return query.from_ or last - (OVERVIEW_DAYS - 1) * _DAY, last


def _leaders(key: str, label: str, source: str) -> bytes:
    return statement(
        "admin_overview_leaders", key=key, label=label, table=source, metrics=LEADER_METRICS
    )


def _leader(row: Row, what: str) -> dict[str, Any]:
    return {
        f"{what}_id": str(row[f"{what}_id"]),
        f"{what}_name": row["name"],
        **record({name: row[name] for name in ("rank", "currency", *LEADER_METRICS)}),
    }


def _is_loaded(coverage: Coverage) -> bool:
    return len(coverage.missing) < len(coverage.periods.keys)


def _by_currency(
    rows: Sequence[Row], events: Mapping[str, int], *, loaded: Mapping[bool, bool]
) -> list[dict[str, Any]]:
    """Both ranges in every currency; nulls for the one of which no day is loaded."""
    found = []
    for currency in sorted({row["currency"] for row in rows}):
        own = {row["is_current"]: row for row in rows if row["currency"] == currency}
        now, before = (
            own.get(
                which, dict.fromkeys(("organizers_with_sales", *ADDITIVE), 0 if there else None)
            )
            for which, there in ((True, loaded[True]), (False, loaded[False]))
        )
        found.append(
            {
                "currency": currency,
                "events_with_sales": events.get(currency, 0) if loaded[True] else None,
                "organizers_with_sales": now["organizers_with_sales"],
                "totals": _totals(now, currency),
                "previous": _totals(before, currency),
            }
        )
    return found


def _totals(row: Row, currency: str) -> dict[str, Any]:
    values = {name: row[name] for name in ADDITIVE}
    quotients = {name: _quotient(name, values, currency) for name in RATIOS}
    return record(values, currency) | quotients


# --- Purchase requests --------------------------------------------------------------------------


class RequestsQuery(_Range):
    """Which requests."""


@router.answer(
    "/requests",
    access=Access.ADMIN_ANALYTICS,
    reads=_PERIODIC,
    shows=dict[str, Any],
    example=examples.REQUESTS,
)
async def requests(read: Read, query: Annotated[RequestsQuery, Query()]) -> Answer:
    """Purchase requests (orders placed) and what became of them, by day, ISO week or month.

    Each number is of its own day: `requests` of the day an order was placed, `orders` of the day it
    was completed, `orders_expired` and `orders_cancelled` of the day of that. So a period's
    `request_conversion` is what it completed per what it placed, as everywhere else.
    """
    periods = Periods(query.granularity, query.from_, query.to)
    source, _ = table_of(periods, query.asked)
    rows, coverage = await read_series(
        read,
        "admin_requests",
        periods,
        event_id=query.event,
        organizer_id=query.organizer,
        blocks={"table": source, "metrics": OUTCOMES, "filters": tuple(query.asked)},
        parameters=_parameters(query.asked),
        only=True,
    )
    # One row outside the range: then there is a series even where nothing was sold.
    nothing = {"period": None, **dict.fromkeys(OUTCOMES, 0)}
    found = series(coverage, [*rows, nothing], OUTCOMES, by=())
    _add_quotients(found, _CONVERSIONS)
    return Answer(found[0], meta(read, coverage=coverage), table=lambda: flat(found))


# --- Revenue ------------------------------------------------------------------------------------


class RevenueQuery(_Range):
    """Which revenue, and how it is told apart."""

    group_by: Literal["none", "currency", "organizer", "event", "payment_method"] = Field(
        "none",
        description="Besides the currency, by which series are always told apart: `none` and"
        " `currency` are the same.",
    )
    currency: str | None = Field(None, pattern="^[A-Z]{3}$", description="Of this currency only.")
    limit: int = Field(20, ge=1, le=100, description="Series a page has.")
    offset: int = Field(0, ge=0, le=1_000_000, description="Go on at `next_offset`.")

    @property
    def asked(self) -> dict[str, object]:
        """Columns that are filtered by, each with its value."""
        own: dict[str, object] = {} if self.currency is None else {"currency": self.currency}
        return super().asked | own


@router.answer(
    "/revenue",
    access=Access.ADMIN_ANALYTICS,
    reads=(*_PERIODIC, DAILY_PAYMENTS.name, EVENT_SUMMARY.name),
    rate="heavy",
    shows=list[dict[str, Any]],
    example=examples.REVENUE,
)
async def revenue(read: Read, query: Annotated[RevenueQuery, Query()]) -> Answer:
    """The whole waterfall, from list price to what is left to organizers.

    One series for each currency, and each organizer, event or payment method if so grouped; within
    a currency the greatest gross revenue first (payment methods: the greatest payments). By payment
    method there are only the amounts that have one, and `meta.missing_days` names the days of the
    periods that are not published.
    """
    periods = Periods(query.granularity, query.from_, query.to)
    by_method = query.group_by == "payment_method"
    if len(periods.starts) * query.limit > MAX_POINTS and query.group_by in _NAMED:
        raise Problem(
            Kind.INVALID,
            f"{query.limit} series of {len(periods.starts)} periods are more than {MAX_POINTS}"
            " points: ask for fewer days, a coarser granularity or a smaller limit.",
            errors=[{"field": "query.limit", "code": "points", "message": "too many points"}],
        )
    missing_days: list[str] = []
    if by_method:
        lines, total, coverage, missing_days = await _read_methods(read, query, periods)
    elif query.group_by in _NAMED:
        lines, total, coverage = await _read_groups(read, query, periods)
    else:
        lines, total, coverage = await _read_currencies(read, query, periods)
    found = write(
        coverage,
        DAILY_PAYMENTS.metric_names if by_method else WATERFALL,
        lines,
        quotients=() if by_method else ("aov",),
    )
    following = query.offset + query.limit
    more: dict[str, object] = {
        "group_by": query.group_by,
        "series": total,
        "next_offset": following if total is not None and total > following else None,
    }
    if by_method:
        more["missing_days"] = missing_days
    currencies = {line.currency for line in lines}
    described = meta(read, coverage=coverage, currencies=currencies, more=more)
    return Answer(found, described, table=lambda: table(found))


_Found = tuple[list[Line], int | None, Coverage]
"""Series of a page, how many there are on all pages (None: the page is past them), and coverage."""


async def _read_currencies(read: Reading, query: RevenueQuery, periods: Periods) -> _Found:
    rows, coverage = await read_covered(
        read,
        by_currency(periods, WATERFALL, query.asked),
        periods,
        periods.dataset,
        event_id=query.event,
        organizer_id=query.organizer,
        only=True,
    )
    lines = lines_by_currency(rows, has_rank=True)
    return lines[query.offset : query.offset + query.limit], len(lines), coverage


async def _read_groups(read: Reading, query: RevenueQuery, periods: Periods) -> _Found:
    keys = _GROUPS[query.group_by]
    source, column = table_of(periods, (*query.asked, *keys))
    blocks = {"table": source, "column": column, "period": column, "leading": "gross_revenue"}
    rows, coverage = await read_covered(
        read,
        _page(query, keys, WATERFALL, blocks, periods.parameters),
        periods,
        periods.dataset,
        event_id=query.event,
        organizer_id=query.organizer,
        only=True,
    )
    return *_lines(rows, query, _NAMED[query.group_by]), coverage


def _page(
    query: RevenueQuery,
    keys: tuple[str, ...],
    metrics: tuple[str, ...],
    blocks: Mapping[str, str],
    bounds: Mapping[str, date],
) -> Texts:
    """The statement of a page of groups; its rows are what ``_lines`` takes."""
    text = statement(
        "admin_revenue_groups", keys=keys, metrics=metrics, filters=tuple(query.asked), **blocks
    )
    limits = {"limit": query.limit, "offset": query.offset}
    return Texts(text, {**bounds, **limits, **_parameters(query.asked)})


def _lines(
    rows: Sequence[Sequence[str]], query: RevenueQuery, names: Sequence[str]
) -> tuple[list[Line], int | None]:
    found = []
    for rank, _, currency, *rest in rows:
        about = dict(zip(names, rest, strict=False))
        head = {"rank": int(rank), **about, "currency": currency}
        found.append(Line.of(head, currency, rest[len(names) :]))
    if rows:
        return found, int(rows[0][1])
    return found, None if query.offset else 0


async def _read_methods(
    read: Reading, query: RevenueQuery, periods: Periods
) -> tuple[list[Line], int | None, Coverage, list[str]]:
    """Series by payment method, and days of the periods that are not published.

    There are only days of payments, so a period is as its days are.
    """
    ends = _ends(periods)
    days = Periods("daily", periods.starts[0], ends[-1])
    keys, unit = _GROUPS[query.group_by], _UNITS[periods.granularity]
    blocks = {
        "table": f"reporting.{DAILY_PAYMENTS.name}",
        "column": "business_date",
        "period": f"date_trunc('{unit}', business_date)::date",
        "leading": "payments",
    }
    rows, known = await read_covered(
        read,
        _page(query, keys, DAILY_PAYMENTS.metric_names, blocks, days.parameters),
        days,
        DAILY_PAYMENTS.name,
        event_id=query.event,
        organizer_id=query.organizer,
        only=True,
    )
    coverage = _of_days(periods, ends, known.shelf, known.restated)
    return *_lines(rows, query, keys), coverage, known.missing


def _ends(periods: Periods) -> Sequence[date]:
    """Last day of each period."""
    match periods.granularity:
        case "daily":
            return periods.starts
        case "weekly":
            return [start + 6 * _DAY for start in periods.starts]
        case "monthly":
            return [next_month(start) - _DAY for start in periods.starts]


def _of_days(
    periods: Periods, ends: Sequence[date], shelf: Shelf, restated: frozenset[str]
) -> Coverage:
    """What is known of periods, from what is known of their days.

    A period is loaded if one of its days is, complete if all are, and final if all are.
    """
    partitions: dict[str, Partition] = {}
    again, held = set(), set()
    for start, end in zip(periods.starts, ends, strict=True):
        keys = [(start + n * _DAY).isoformat() for n in range((end - start).days + 1)]
        known = [shelf.partitions[key] for key in keys if key in shelf.partitions]
        name = start.isoformat()
        if known:
            whole = len(known) == len(keys)
            partitions[name] = Partition(
                whole and all(part.is_complete for part in known),
                whole and all(part.is_final for part in known),
                max(part.published_at for part in known),
            )
        if not restated.isdisjoint(keys):
            again.add(name)
        if not shelf.held_back.isdisjoint(keys):
            held.add(name)
    of_periods = Shelf(
        shelf.version, partitions, shelf.complete_through, shelf.published_at, frozenset(held)
    )
    return Coverage(periods, DAILY_PAYMENTS.name, of_periods, frozenset(again))
