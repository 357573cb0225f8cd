"""For administrators: the platform's numbers over all organizers.

Belongs here: overview, purchase requests and revenue. Does not belong here: one organizer's view,
or how trustworthy the numbers are (``api.routes.platform``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import Query
from pydantic import Field

from api.answers import Answer, average, flat, meta, ratio, record, series
from api.calls import Calls, Parameters, Read
from api.database import Reading, Row
from api.organizer_days import read_organizer_days
from api.periods import Coverage, Granularity, Periods, read_series
from api.policy import Access
from api.problems import Kind, Problem, invalid
from api.publications import Partition, Shelf
from api.routes import admin_examples as examples
from api.routes.admin_examples import ADDITIVE, OUTCOMES, WATERFALL
from api.statements import statement
from metrics.calendar import next_month
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
_CURRENCIES_OF_AN_ORGANIZER = 20
"""More than any organizer sells in; they are one page then."""
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
    from_: date = Field(alias="from", description="First reporting day.")
    to: date = Field(description="Last reporting day; weeks and months are whole.")
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
    if above is None or below is None or currency is None:
        return None
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

    from_: date | None = Field(
        None, alias="from", description="First reporting day; 30 days before the last if left out."
    )
    to: date | None = Field(
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
    if first - date.min < length:
        raise invalid("query.from", "there are no days before it to compare with", "range")
    before = Periods("daily", first - length, first - _DAY)
    totals, coverage = await read_series(
        read,
        "admin_overview_totals",
        periods,
        blocks={"metrics": ADDITIVE},
        parameters={"before": before.first},
    )
    leaders = {"leaders": LEADERS, **periods.parameters}
    organizers, events, states = await read.batch(
        (_leaders("organizer_id", "organizer_name"), leaders),
        (_leaders("event_id", "event_name"), leaders),
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
        "currencies": _by_currency(totals),
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
        today = datetime.now(UTC).astimezone(ZoneInfo(read.time_zone)).date()
        last = today if known is None else date.fromisoformat(known)
    first = query.from_
    if first is None:
        first = date.fromordinal(max(1, last.toordinal() - OVERVIEW_DAYS + 1))
    return first, last


def _leaders(key: str, label: str) -> bytes:
    return statement("admin_overview_leaders", key=key, label=label, metrics=LEADER_METRICS)


def _leader(row: Row, what: str) -> dict[str, Any]:
    return {
        f"{what}_id": str(row[f"{what}_id"]),
        f"{what}_name": row["name"],
        **record({name: row[name] for name in ("rank", "currency", *LEADER_METRICS)}),
    }


def _by_currency(rows: Sequence[Row]) -> list[dict[str, Any]]:
    found = []
    for currency in sorted({row["currency"] for row in rows}):
        own = {row["is_current"]: row for row in rows if row["currency"] == currency}
        counted = {
            name: own[True][name] if True in own else 0
            for name in ("events_with_sales", "organizers_with_sales")
        }
        found.append(
            {
                "currency": currency,
                **counted,
                "totals": _totals(own.get(True), currency),
                "previous": _totals(own.get(False), currency),
            }
        )
    return found


def _totals(row: Row | None, currency: str) -> dict[str, Any]:
    values = {name: 0 if row is None else row[name] for name in ADDITIVE}
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
    rows, coverage = await read_series(
        read,
        "admin_requests",
        periods,
        event_id=query.event,
        blocks={"metrics": OUTCOMES, "filters": tuple(query.asked)},
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

    @property
    def is_of_one_organizer(self) -> bool:
        """Whether one organizer's days are asked for, whose sums are kept; all on one page."""
        return (
            self.granularity == "daily"
            and set(self.asked) == {"organizer_id"}
            and self.group_by in ("none", "currency")
            and self.offset == 0
            and self.limit >= _CURRENCIES_OF_AN_ORGANIZER
        )


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
    if query.is_of_one_organizer:
        return await _organizer_revenue(read, query, periods)
    metrics = DAILY_PAYMENTS.metric_names if by_method else WATERFALL
    blocks = {"metrics": tuple(metrics), "filters": tuple(query.asked)}
    given = _parameters(query.asked) | {"limit": query.limit, "offset": query.offset}
    if by_method:
        rows, coverage, missing_days = await _read_methods(
            read, periods, query.event, blocks, given
        )
    else:
        rows, coverage = await read_series(
            read,
            "admin_revenue_groups",
            periods,
            event_id=query.event,
            blocks=blocks | {"keys": _GROUPS[query.group_by]},
            parameters=given,
            only=True,
        )
    by = ("rank", *_NAMED.get(query.group_by, _GROUPS[query.group_by]), "currency")
    found = sorted(series(coverage, rows, metrics, by=by), key=lambda one: one["rank"])
    if not by_method:
        _add_quotients(found, ("aov",))
    total = rows[0]["groups"] if rows else None
    following = query.offset + query.limit
    more: dict[str, object] = {
        "group_by": query.group_by,
        "series": total,
        "next_offset": following if total is not None and total > following else None,
    }
    if by_method:
        more["missing_days"] = missing_days
    described = meta(
        read, coverage=coverage, currencies={one["currency"] for one in found}, more=more
    )
    return Answer(found, described, table=lambda: flat(found))


async def _organizer_revenue(read: Reading, query: RevenueQuery, periods: Periods) -> Answer:
    written = await read_organizer_days(
        read,
        int(str(query.asked["organizer_id"])),
        periods,
        WATERFALL,
        quotients=("aov",),
        head=lambda rank: {"rank": rank},
    )
    more: dict[str, object] = {
        "group_by": query.group_by,
        "series": len(written.currencies) or None,
        "next_offset": None,
    }
    described = meta(read, coverage=written.coverage, currencies=set(written.currencies), more=more)
    return Answer(written.data, described, table=written.table)


async def _read_methods(
    read: Reading,
    periods: Periods,
    event_id: int | None,
    blocks: Mapping[str, tuple[str, ...]],
    parameters: Mapping[str, object],
) -> tuple[list[Row], Coverage, list[str]]:
    """Payments by period, what is known of the periods, and days of them that are not published.

    There are only days of payments, so a period is as its days are.
    """
    unit, ends = _UNITS[periods.granularity], _ends(periods)
    bounds = {"first": periods.starts[0], "last": ends[-1]}
    keys = {
        "dataset": DAILY_PAYMENTS.name,
        "first_key": bounds["first"].isoformat(),
        "last_key": bounds["last"].isoformat(),
        "event_id": event_id,
    }
    rows, restated = await read.batch(
        (statement("admin_payment_methods", unit=unit, **blocks), {**bounds, **parameters}),
        (statement("restated_partitions"), keys),
    )
    shelf = await read.shelf(DAILY_PAYMENTS.name)
    days = frozenset(row["partition_key"] for row in restated)
    length = (bounds["last"] - bounds["first"]).days + 1
    every = [(bounds["first"] + n * _DAY).isoformat() for n in range(length)]
    missing = [day for day in every if day not in shelf.partitions]
    return rows, _of_days(periods, ends, shelf, days), missing


def _ends(periods: Periods) -> list[date]:
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
