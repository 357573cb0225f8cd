"""What the organizers' endpoints share: whose numbers, which days, sums, ratios and comparisons.

Belongs here: naming an organizer, default ranges, laying out sums, and comparing windows of equal
elapsed time. Does not belong here: endpoints (``organizer_*``), or how an amount is shown
(``api.answers``).

Two windows are compared day by day: a day counts where it and its counterpart are both complete, so
that a day that is still open, or was never loaded, is on neither side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import Path
from pydantic import Field

from api.answers import average, money, ratio
from api.calls import Calls, Parameters
from api.database import Row
from api.periods import Coverage, Day, Periods
from api.principal import Principal
from api.problems import invalid, not_found
from api.publications import Shelf
from metrics.calendar import business_date, parse_date
from metrics.registry import METRICS, MONEY, RATIOS

LARGEST = 2**63 - 1
PATH, TAG = "/api/organizer/analytics", "Organizers"
_DAY = timedelta(days=1)
_DEFAULT_DAYS = 30
_YEAR = 364 * _DAY
_LOADED = "loaded"

EventNumber = Annotated[int, Path(ge=1, le=LARGEST, description="Event.")]
Organizer = Annotated[
    int | None,
    Field(
        ge=1,
        le=LARGEST,
        description="Whose numbers; needed where the token sees every organizer.",
    ),
]
EventList = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,18}(,[0-9]{1,18}){0,49}$",
        description="Events, separated by commas; at most 50.",
        examples=["120,121"],
    ),
]
calls = partial(Calls, PATH, TAG)
"""A router for a module of these endpoints."""


class OrganizerQuery(Parameters):
    """Whose numbers."""

    organizer: Organizer = None


class RangeQuery(OrganizerQuery):
    """Whose numbers, over which days."""

    from_: Day | None = Field(None, alias="from", description="First day.")
    to: Day | None = Field(
        None, description="Last day; the newest published one where it is not given."
    )


# --- Whose --------------------------------------------------------------------------------------


def named(caller: Principal, organizer: int | None) -> int | None:
    """The organizer whose things are meant; None: whoever they belong to.

    Raises:
        Problem: another organizer than the caller's own was named.
    """
    if caller.organizer_id is None:
        return organizer
    if organizer not in (None, caller.organizer_id):
        raise not_found()
    return caller.organizer_id


def required(caller: Principal, organizer: int | None) -> int:
    """The organizer whose numbers are meant.

    Raises:
        Problem: another organizer than the caller's own was named, or none by someone who sees all.
    """
    found = named(caller, organizer)
    if found is None:
        raise invalid(
            "query.organizer", "is needed: this token sees every organizer; name one", "missing"
        )
    return found


def event_numbers(text: str, *, at_least: int = 1) -> list[int]:
    """Events from a list with commas, in its order.

    Raises:
        Problem: one is named twice, or there are too few.
    """
    found = [int(part) for part in text.split(",")]
    if len(set(found)) < len(found):
        raise invalid("query.events", "names an event twice", "duplicate")
    if len(found) < at_least:
        raise invalid("query.events", f"names fewer than {at_least} events", "too_short")
    return found


# --- Which days ---------------------------------------------------------------------------------


def newest_day(shelf: Shelf, time_zone: str) -> date:
    """The newest published day; today where nothing was published."""
    if not shelf.partitions:
        return business_date(time_zone, datetime.now(UTC))
    return parse_date(max(shelf.partitions))


def oldest_day(shelf: Shelf, time_zone: str) -> date:
    """The oldest published day; today where nothing was published."""
    if not shelf.partitions:
        return business_date(time_zone, datetime.now(UTC))
    return parse_date(min(shelf.partitions))


def range_of(query: RangeQuery, shelf: Shelf, time_zone: str) -> tuple[date, date]:
    """First and last day that are asked for: the last 30 published ones where none are named."""
    last = query.to or max(query.from_ or date.min, newest_day(shelf, time_zone))
    return query.from_ or last - (_DEFAULT_DAYS - 1) * _DAY, last


def as_of(shelf: Shelf, time_zone: str) -> dict[str, Any]:
    """The newest published day, and what is known of it."""
    day = newest_day(shelf, time_zone)
    coverage = Coverage(Periods("daily", day, day), "", shelf, frozenset())
    return {
        "day": day.isoformat(),
        "state": coverage.state(day.isoformat()),
        "is_complete": coverage.is_complete,
        "complete_through": shelf.complete_through,
        "published_at": shelf.published_at,
    }


# --- Windows ------------------------------------------------------------------------------------

Run = tuple[date, date]


def runs_of(days: Iterable[date]) -> tuple[Run, ...]:
    """Days, in order, as runs of neighbours."""
    found: list[list[date]] = []
    for day in days:
        if found and day - found[-1][1] == _DAY:
            found[-1][1] = day
        else:
            found.append([day, day])
    return tuple((first, last) for first, last in found)


@dataclass(frozen=True)
class Compared:
    """A window and an earlier one, over the same number of complete days.

    Attributes:
        first: first day of the window that was asked for.
        last: its last day.
        back: how far the earlier window is.
        days: days of the window that count: complete, and so are their counterparts.
    """

    first: date
    last: date
    back: timedelta
    days: tuple[date, ...]

    @property
    def current(self) -> tuple[Run, ...]:
        """Runs of days of the window."""
        return runs_of(self.days)

    @property
    def earlier(self) -> tuple[Run, ...]:
        """Runs of days of the earlier window."""
        return runs_of(day - self.back for day in self.days)

    def shown(self) -> dict[str, Any]:
        """What was compared with what."""
        return {
            "from": (self.first - self.back).isoformat(),
            "to": (self.last - self.back).isoformat(),
            "days": (self.last - self.first).days + 1,
            "days_compared": len(self.days),
            "current_days": _shown_runs(self.current),
            "earlier_days": _shown_runs(self.earlier),
        }


def _shown_runs(runs: Sequence[Run]) -> list[dict[str, str]]:
    return [{"from": first.isoformat(), "to": last.isoformat()} for first, last in runs]


def compared(shelf: Shelf, first: date, last: date) -> dict[str, Compared]:
    """A range with the one before it and with the same weekdays a year before."""
    length = (last - first).days + 1
    complete = {key for key, part in shelf.partitions.items() if part.is_complete}
    days = [first + _DAY * n for n in range(length)]
    there = [day for day in days if day.isoformat() in complete]
    return {
        name: Compared(
            first,
            last,
            back,
            tuple(day for day in there if (day - back).isoformat() in complete),
        )
        for name, back in (("previous_period", length * _DAY), ("year_before", _YEAR))
    }


# --- Sums ---------------------------------------------------------------------------------------

Sums = Mapping[str, int]


def sums(rows: Iterable[Row], metrics: Sequence[str]) -> dict[str, int]:
    """Rows of one currency added up; zeros where there are none."""
    found = dict.fromkeys(metrics, 0)
    for row in rows:
        for name in metrics:
            found[name] += row[name]
    return found


def shown_sums(values: Sums | None, metrics: Sequence[str], currency: str) -> dict[str, Any]:
    """Sums as an answer shows them; nulls where nothing is loaded."""
    return {
        name: _shown(name, None if values is None else values[name], currency) for name in metrics
    }


def _shown(name: str, value: int | None, currency: str) -> Any:
    return money(value, currency) if METRICS[name].unit == MONEY else value


def ratios(values: Sums | None, currency: str) -> dict[str, Any]:
    """The registry's ratios whose parts are there; money per count is an amount."""
    found: dict[str, Any] = {}
    for name, declared in RATIOS.items():
        if values is None or not {declared.numerator, declared.denominator} <= values.keys():
            continue
        above, below = values[declared.numerator], values[declared.denominator]
        if METRICS[declared.numerator].unit == MONEY:
            found[name] = average(above, below, currency)
        else:
            found[name] = ratio(above, below)
    return found


def sell_through(row: Row) -> dict[str, object]:
    """Tickets that are out, sold and not cancelled, of those that can be sold."""
    return ratio(row["tickets_sold"] - row["tickets_cancelled"], row["capacity"])


def comparison(
    current: Sums, earlier: Sums, metrics: Sequence[str], currency: str, *, days: int
) -> dict[str, Any]:
    """Metrics of two windows side by side; nulls where no day could be compared.

    ``change_ratio`` is a decimal text, null where the earlier value is not above zero.
    """
    found: dict[str, Any] = {}
    for name in metrics:
        now, then = (current[name], earlier[name]) if days else (None, None)
        change = None if now is None or then is None else now - then
        part = ratio(change, then) if then is not None and then > 0 else None
        found[name] = {
            "current": _shown(name, now, currency),
            "earlier": _shown(name, then, currency),
            "change": _shown(name, change, currency),
            "change_ratio": None if part is None else part["value"],
        }
    return found


class Windows:
    """A range and what it is compared with, as numbered runs of days of one statement.

    Windows overlap: days that are in the same ones have one number, so that each is read once.
    """

    def __init__(self, shelf: Shelf, first: date, last: date) -> None:
        """Of a range of days."""
        days = Periods("daily", first, last)
        self.compared = compared(shelf, first, last)
        windows: dict[date, list[str]] = {}
        for start, key in zip(days.starts, days.keys, strict=True):
            if key in shelf.partitions:
                windows.setdefault(start, []).append(_LOADED)
        self.is_loaded = bool(windows)
        for name, one in self.compared.items():
            for day in one.days:
                windows.setdefault(day, []).append(f"{name} now")
                windows.setdefault(day - one.back, []).append(f"{name} before")
        together: dict[tuple[str, ...], list[date]] = {}
        for day in sorted(windows):
            together.setdefault(tuple(windows[day]), []).append(day)
        self._names = list(together)
        self._runs = [
            (number, *run)
            for number, members in enumerate(together.values())
            for run in runs_of(members)
        ]

    @property
    def parameters(self) -> dict[str, list[Any]]:
        """``numbers``, ``firsts`` and ``lasts`` of all runs."""
        return {
            "numbers": [run[0] for run in self._runs],
            "firsts": [run[1] for run in self._runs],
            "lasts": [run[2] for run in self._runs],
        }

    def total(self, rows: Iterable[Row], metrics: Sequence[str]) -> Sums | None:
        """Sums of the loaded days of the range, of rows of one currency; None: none is loaded."""
        return self._sums(rows, _LOADED, metrics) if self.is_loaded else None

    def comparisons(
        self, rows: Sequence[Row], metrics: Sequence[str], currency: str
    ) -> dict[str, Any]:
        """Metrics of rows of one currency beside those of the earlier windows."""
        return {
            name: comparison(
                self._sums(rows, f"{name} now", metrics),
                self._sums(rows, f"{name} before", metrics),
                metrics,
                currency,
                days=len(one.days),
            )
            for name, one in self.compared.items()
        }

    def shown(self) -> dict[str, Any]:
        """Which days are compared."""
        return {name: one.shown() for name, one in self.compared.items()}

    def _sums(self, rows: Iterable[Row], window: str, metrics: Sequence[str]) -> Sums:
        return sums((row for row in rows if window in self._names[row["number"]]), metrics)


def flat_comparisons(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Comparisons as columns of a flat row."""
    return {
        f"{window}_{name}_{part}": value
        for window, metrics in found.items()
        for name, parts in metrics.items()
        for part, value in parts.items()
    }


def event_of(rows: Sequence[Row]) -> Row:
    """The one event a statement looked for.

    Raises:
        Problem: it is foreign or absent; one cannot tell which.
    """
    if not rows:
        raise not_found()
    return rows[0]


def all_events(rows: Sequence[Row], wanted: Sequence[int]) -> list[Row]:
    """Events in the order in which they were asked for.

    Raises:
        Problem: one of them is foreign or absent; one cannot tell which.
    """
    by_number = {row["event_id"]: row for row in rows}
    if any(number not in by_number for number in wanted):
        raise not_found()
    return [by_number[number] for number in wanted]
