"""The one definition of a reporting day, week and month.

Belongs here: everything that turns an instant into a business date or a date into instants. It is
used by extraction, movements, partitions and the read API, because libraries disagree on days whose
midnight is skipped or happens twice. Does not belong here: partitions and schedules.

A reporting day is the half-open interval from the first instant of its local date to the first
instant of the next one: 23 or 25 hours long where the clock changes. Weeks are ISO 8601 weeks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DAY = timedelta(days=1)


def parse_date(text: str) -> date:
    """Parse ``YYYY-MM-DD``, the only accepted form; raises ``ValueError`` that names the text."""
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is not a date; write it as YYYY-MM-DD, for example 2026-03-31")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a date of the calendar: {error}") from error


def day_start(time_zone: str, day: date) -> datetime:
    """First instant of a local date, in UTC.

    Where midnight is skipped it is the first instant after the gap, where it happens twice the
    first of the two.
    """
    return datetime.combine(day, time(), ZoneInfo(time_zone)).astimezone(UTC)


def day_bounds(time_zone: str, day: date) -> tuple[datetime, datetime]:
    """Half-open interval ``[start, end)`` of a reporting day, in UTC."""
    return day_start(time_zone, day), day_start(time_zone, day + _DAY)


def business_date(time_zone: str, instant: datetime) -> date:
    """The reporting day an aware instant belongs to; raises ``ValueError`` for a naive one."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone")
    day = instant.astimezone(ZoneInfo(time_zone)).date()
    while instant < day_start(time_zone, day):
        day -= _DAY
    while instant >= day_start(time_zone, day + _DAY):
        day += _DAY
    return day


def iso_week_label(day: date) -> str:
    """ISO week of a date, for example ``2025-W01`` for 2024-12-30."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


def week_start(day: date) -> date:
    """Monday of the ISO week of a date."""
    return day - timedelta(days=day.weekday())


def month_start(day: date) -> date:
    """First day of the calendar month of a date."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """First day of the calendar month after the one of a date."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


@dataclass(frozen=True)
class DayRange:
    """A run of reporting days ``first`` to ``last``, both included, in one time zone."""

    time_zone: str
    first: date
    last: date

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        if self.last < self.first:
            raise ValueError(f"day range ends ({self.last}) before it starts ({self.first})")

    @property
    def days(self) -> list[date]:
        """Every day of the range, in order."""
        return [self.first + _DAY * n for n in range((self.last - self.first).days + 1)]

    @property
    def start(self) -> datetime:
        """First instant of the range, in UTC."""
        return day_start(self.time_zone, self.first)

    @property
    def end(self) -> datetime:
        """First instant after the range, in UTC."""
        return day_start(self.time_zone, self.last + _DAY)

    def business_date_sql(self, instant: str) -> str:
        """DuckDB expression for the business date of a timestamptz expression inside this range.

        Exact for every time zone and cheap per row: one integer division for each stretch of days
        that start at the same UTC offset (one stretch unless the clock changes within the range).

        Args:
            instant: SQL expression of type ``timestamptz``, within ``[start, end)``.
        """
        stretches: list[tuple[date, date, int]] = []
        for day in self.days:
            midnight = datetime.combine(day, time(), UTC)
            offset = int((day_start(self.time_zone, day) - midnight).total_seconds())
            if stretches and stretches[-1][2] == offset:
                stretches[-1] = (stretches[-1][0], day, offset)
            else:
                stretches.append((day, day, offset))
        arms = [
            f"least(DATE '{first}' + CAST((epoch_us({instant})"
            f" - {_epoch_us(self.time_zone, first)}) // {24 * 3600 * 1_000_000} AS INTEGER),"
            f" DATE '{last}')"
            for first, last, _ in stretches
        ]
        if len(arms) == 1:
            return arms[0]
        whens = " ".join(
            f"WHEN epoch_us({instant}) < {_epoch_us(self.time_zone, following[0])} THEN {arm}"
            for arm, (_, following) in zip(arms, pairwise(stretches), strict=False)
        )
        return f"CASE {whens} ELSE {arms[-1]} END"


def _epoch_us(time_zone: str, day: date) -> int:
    return int(day_start(time_zone, day).timestamp()) * 1_000_000
