"""Periods of an answer, and what is known of each: open, final, restated, or not loaded.

Belongs here: days, weeks and months of a range, their states in the answer's snapshot, and reading
rows together with them. Does not belong here: how they are laid out (``api.answers``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field

from api.database import Reading, Row
from api.problems import invalid
from api.publications import Query, Shelf
from api.statements import statement
from metrics.calendar import iso_week_label, month_start, next_month, week_start
from metrics.datasets import DAILY_METRICS, DATASETS, MONTHLY_REVENUE, WEEKLY_REVENUE
from warehouse.periods import State

Granularity = Literal["daily", "weekly", "monthly"]
NOT_LOADED = "not_loaded"
ORGANIZER_DAYS = "ops.organizer_days"
"""Sums of ``daily_metrics`` by organizer, day and currency; triggers keep them."""
MAX_DAYS = 3_660
Day = Annotated[date, Field(ge=date(1990, 1, 1), lt=date(2200, 1, 1))]
"""A reporting day, far enough from where the calendar ends to be compared with others."""
_DATASETS: Mapping[Granularity, str] = {
    "daily": DAILY_METRICS.name,
    "weekly": WEEKLY_REVENUE.name,
    "monthly": MONTHLY_REVENUE.name,
}
_DAY = timedelta(days=1)
_OPEN, _PROVISIONAL, _FINAL = State.OPEN.value, State.PROVISIONAL.value, State.FINAL.value


@dataclass(frozen=True)
class Periods:
    """The days, ISO weeks or months that a range of days touches.

    Attributes:
        first: first day asked for; weeks and months are whole, so theirs may begin before it.
        last: last day asked for.
    """

    granularity: Granularity
    first: date
    last: date

    def __post_init__(self) -> None:
        """Refuse a range that is empty or endless."""
        if self.last < self.first:
            raise invalid("query.to", f"is before `from` ({self.first.isoformat()})", "range")
        if (self.last - self.first).days >= MAX_DAYS:
            raise invalid("query.to", f"is more than {MAX_DAYS} days after `from`", "range")

    @property
    def dataset(self) -> str:
        """The finished table with one row for each event and period."""
        return _DATASETS[self.granularity]

    @property
    def starts(self) -> Sequence[date]:
        """First day of each period, in order."""
        return _starts(self.granularity, self.first, self.last)[0]

    @property
    def keys(self) -> Sequence[str]:
        """Partition key of each period, in order."""
        return _starts(self.granularity, self.first, self.last)[1]

    @cached_property
    def names(self) -> Sequence[str]:
        """Label of each period, in order."""
        return self.keys if self.granularity == "daily" else [self.label(s) for s in self.starts]

    @property
    def parameters(self) -> dict[str, date]:
        """``first`` and ``last`` for statements: starts of the first and of the last period."""
        return {"first": self.starts[0], "last": self.starts[-1]}

    def label(self, start: date) -> str:
        """How a period is named: ``2025-01-31``, ``2025-W05``, ``2025-01``."""
        match self.granularity:
            case "daily":
                return start.isoformat()
            case "weekly":
                return iso_week_label(start)
            case "monthly":
                return start.isoformat()[:7]


@lru_cache(maxsize=64)
def _starts(
    granularity: Granularity, first: date, last: date
) -> tuple[tuple[date, ...], tuple[str, ...]]:
    """First days of the periods of a range, as dates and as texts; the same are asked for often."""
    starts = []
    match granularity:
        case "daily":
            starts = [first + _DAY * n for n in range((last - first).days + 1)]
        case "weekly":
            monday = week_start(first)
            starts = [monday + 7 * _DAY * n for n in range((last - monday).days // 7 + 1)]
        case "monthly":
            starts = [month_start(first)]
            while (following := next_month(starts[-1])) <= last:
                starts.append(following)
    return tuple(starts), tuple(start.isoformat() for start in starts)


@dataclass(frozen=True)
class Coverage:
    """What is known of some periods of a finished table, in the answer's snapshot.

    Attributes:
        restated: keys of periods of which a value changed after they were closed.
    """

    periods: Periods
    dataset: str
    shelf: Shelf
    restated: frozenset[str]

    def state(self, key: str) -> str:
        """``open``, ``provisional``, ``final``, or ``not_loaded``."""
        part = self.shelf.partitions.get(key)
        if part is None:
            return NOT_LOADED
        if part.is_final:
            return _FINAL
        return _PROVISIONAL if part.is_complete else _OPEN

    @property
    def missing(self) -> list[str]:
        """Periods that are not published, by label."""
        known = self.shelf.partitions
        return [name for key, name in self._named() if key not in known]

    @property
    def is_complete(self) -> bool:
        """Whether every period is published and complete."""
        parts = self.shelf.partitions
        found = map(parts.get, self.periods.keys)
        return all(part is not None and part.is_complete for part in found)

    def labels(self, keys: Iterable[str]) -> list[str]:
        """Labels of those of the keys that are in the range, in order."""
        wanted = frozenset(keys)
        return [name for key, name in self._named() if key in wanted]

    def _named(self) -> Iterable[tuple[str, str]]:
        return zip(self.periods.keys, self.periods.names, strict=True)


def table_of(periods: Periods, columns: Iterable[str]) -> tuple[str, str]:
    """The smallest table that has the sums of some periods, and its column of the period.

    Weeks and months are rows of their own, with as few as their days have, and published as such.

    Args:
        columns: that are filtered or grouped by.
    """
    column = DATASETS[periods.dataset].grain[0].name
    if periods.granularity == "daily" and "event_id" not in columns:
        return ORGANIZER_DAYS, column
    return f"reporting.{periods.dataset}", column


async def read_series(
    read: Reading,
    name: str,
    periods: Periods,
    *,
    dataset: str | None = None,
    event_id: int | None = None,
    organizer_id: int | None = None,
    blocks: Mapping[str, str | tuple[str, ...]] | None = None,
    parameters: Mapping[str, Any] | None = None,
    only: bool = False,
) -> tuple[list[Row], Coverage]:
    """Rows of a statement over periods, and what is known of those periods, in one round trip.

    The statement is given ``first`` and ``last`` (starts of periods), ``event_id`` and
    ``organizer_id``, and returns a column ``period`` (start, a date).

    Args:
        name: file of ``api/sql``.
        dataset: finished table that it reads; that of the periods' granularity if not given.
        event_id: restatements of this event only.
        organizer_id: restatements of this organizer only.
        blocks: identifiers that the statement is filled in with, besides ``dataset`` and
            ``column`` (that of the period).
        only: nothing else is read for this answer.
    """
    table = dataset or periods.dataset
    given = {**periods.parameters, "event_id": event_id, **(parameters or {})}
    filled = {"dataset": table, "column": DATASETS[table].grain[0].name, **(blocks or {})}
    return await read_covered(
        read,
        (statement(name, **filled), given),
        periods,
        table,
        event_id=event_id,
        organizer_id=organizer_id,
        only=only,
    )


async def read_covered(
    read: Reading,
    query: Query,
    periods: Periods,
    dataset: str,
    *,
    event_id: int | None = None,
    organizer_id: int | None = None,
    only: bool = False,
) -> tuple[list[Any], Coverage]:
    """Rows of a query over periods of a table, and what is known of these, in one round trip.

    Args:
        event_id: restatements of this event only.
        organizer_id: restatements of this organizer only.
        only: nothing else is read for this answer.
    """
    keys: dict[str, Any] = {
        "dataset": dataset,
        "first_key": periods.keys[0],
        "last_key": periods.keys[-1],
        "event_id": event_id,
    }
    if organizer_id is not None:
        keys["organizer_id"] = organizer_id
    restatements = statement("restated_partitions"), keys
    rows, restated = await read.batch(query, restatements, only=only)
    shelf = await read.shelf(dataset)
    keyed = frozenset(row["partition_key"] for row in restated)
    return rows, Coverage(periods, dataset, shelf, keyed)
