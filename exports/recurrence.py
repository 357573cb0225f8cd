"""When a recurring export comes due: cron expressions and RRULEs in a time zone.

Belongs here: reading a recurrence, refusing a wrong one, and the instants that follow from it. Does
not belong here: which days an export asks for (``exports.relative_days``), or rows.

A recurrence speaks of wall-clock times, each of which makes one instant. One that happens twice,
because the clock is put back, is due the first time; one that is skipped, because the clock is put
forward, at the first instant after the gap. So a daily export comes every day and once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter
from dateutil.rrule import rrulestr

from exports.filters import Problem, RequestError

KINDS = ("cron", "rrule")
MIN_INTERVAL = timedelta(minutes=15)
LONGEST_EXPRESSION = 500
_LOOKED_AT = 64
"""Occurrences whose distance is looked at before a recurrence is accepted."""
_CRON_YEARS = 40
"""A cron expression that matches at all does so within them: 29 February at the latest."""
_FIRST_YEAR, _LAST_YEAR = 2000, 2099
_SHIFT = 7600
"""dateutil looks for a match to the year 9999. The calendar repeats every 400 years to the weekday,
so rules are evaluated in 9600 and after: the same dates, and a search that ends soon."""
_CRON = re.compile(r"(?:[0-9*/,#-]|[LW]|[A-Z]{3})+", re.IGNORECASE | re.ASCII)
_DTSTART = re.compile(r"DTSTART(?:;TZID=(?P<zone>[^:]+))?:(?P<at>[0-9]{8}T[0-9]{6})", re.ASCII)
_AT = "%Y%m%dT%H%M%S"
_FREQUENCIES = ("HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_WEEKDAYS = re.compile(r"(?P<nth>[+-]?[0-9]{1,2})?(?:MO|TU|WE|TH|FR|SA|SU)", re.ASCII)
_NUMBERS = {
    "INTERVAL": range(1, 1001),
    "COUNT": range(1, 100_001),
    "BYMONTH": range(1, 13),
    "BYMONTHDAY": range(-31, 32),
    "BYYEARDAY": range(-366, 367),
    "BYWEEKNO": range(-53, 54),
    "BYSETPOS": range(-366, 367),
    "BYHOUR": range(24),
    "BYMINUTE": range(60),
}
_SINGLE = ("INTERVAL", "COUNT")


@dataclass(frozen=True)
class Recurrence:
    """When something comes due, known to be readable.

    Attributes:
        kind: ``cron`` (five fields) or ``rrule`` (RFC 5545: one DTSTART, one RRULE).
        expression: for example ``0 8 * * mon``, or ``DTSTART:20260105T080000`` and
            ``RRULE:FREQ=WEEKLY;BYDAY=MO`` on a line each.
        time_zone: IANA name of the time zone of its wall-clock times.

    Raises:
        RequestError: with every problem, when it is made.
    """

    kind: str
    expression: str
    time_zone: str

    def __post_init__(self) -> None:
        """Refuse what cannot be evaluated."""
        problems = [*_zone_problems(self.time_zone)]
        if self.kind not in KINDS:
            message = f"{self.kind!r} is not a kind of recurrence; there are {', '.join(KINDS)}"
            problems.append(Problem("recurrence.kind", message))
        elif len(self.expression) > LONGEST_EXPRESSION:
            message = f"is longer than {LONGEST_EXPRESSION} characters"
            problems.append(Problem("recurrence.expression", message))
        else:
            found = (
                _cron_problems(self.expression)
                if self.kind == "cron"
                else _rule_problems(self.expression, self.time_zone)
            )
            problems += [Problem("recurrence.expression", message) for message in found]
        if problems:
            raise RequestError(problems)

    def next_after(self, instant: datetime) -> datetime | None:
        """The first instant, in UTC, that is due later than an aware instant; None if it ended."""
        return next(self.occurrences(instant), None)

    def occurrences(self, after: datetime) -> Iterator[datetime]:
        """Every instant, in UTC and in order, that is due later than an aware one.

        Raises:
            ValueError: the instant has no time zone.
        """
        if after.tzinfo is None:
            raise ValueError(f"{after.isoformat()} has no time zone")
        last = after
        # A later instant never has an earlier first wall-clock time, so none before is missed.
        for wall in self._wall_times(after.astimezone(self._zone).replace(tzinfo=None)):
            instant = instant_of(wall, self._zone)
            if self._until is not None and instant > self._until:
                return
            if instant > last:
                last = instant
                yield instant

    def check(self, now: datetime) -> datetime:
        """Whether it can be scheduled from now on; the first instant that is due.

        Raises:
            RequestError: it is over, or comes due more often than every ``MIN_INTERVAL`` by the
                clock on the wall.
        """
        first = self.next_after(now)
        if first is None:
            raise _refused(f"is never due after {now.astimezone(self._zone):%Y-%m-%d %H:%M}")
        start = now.astimezone(self._zone).replace(tzinfo=None)
        for earlier, later in pairwise(islice(self._wall_times(start), _LOOKED_AT)):
            if later - earlier < MIN_INTERVAL:
                raise _refused(
                    f"comes due too often: {earlier:%Y-%m-%d %H:%M} and {later:%H:%M}; at least"
                    f" {MIN_INTERVAL.seconds // 60} minutes must lie between"
                )
        return first

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @cached_property
    def _until(self) -> datetime | None:
        return None if self.kind == "cron" else _Rule.of(self.expression).ends(self._zone)

    def _wall_times(self, after: datetime) -> Iterator[datetime]:
        """Wall-clock times later than one, in order; to the end of the rule or of the search."""
        if self.kind == "cron":
            return _cron_times(self.expression, after)
        return _Rule.of(self.expression).times(after)


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which a wall-clock time is due; see the module."""
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    # Skipped: the clock moves after `early` and not after `instant`.
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    offset = instant.astimezone(zone).utcoffset()
    while instant - early > timedelta(seconds=1):
        middle = early + timedelta(seconds=(instant - early) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            instant = middle
        else:
            early = middle
    return instant


def _refused(message: str) -> RequestError:
    return RequestError([Problem("recurrence.expression", message)])


def _zone_problems(name: str) -> Iterator[Problem]:
    # A bare name is an alias, or like "localtime" another zone on another machine.
    if name != "UTC" and ("/" not in name or name not in available_timezones()):
        yield Problem(
            "recurrence.time_zone",
            f"{name!r} is not a time zone; write an IANA name, for example Africa/Nairobi, or UTC",
        )


def _cron_problems(expression: str) -> Iterator[str]:
    fields = expression.split()
    if len(fields) != 5 or not all(_CRON.fullmatch(field) for field in fields):
        yield (
            f"{expression!r} is not a cron expression; write minute, hour, day of month, month and"
            " day of week, for example 0 8 * * mon"
        )
        return
    try:
        first = next(_cron_times(expression, datetime(_FIRST_YEAR, 1, 1)), None)  # noqa: DTZ001
    except (ValueError, KeyError, IndexError) as error:
        yield f"{expression!r} is not a cron expression: {error}"
    else:
        if first is None:
            yield f"{expression!r} is never due: no day of the calendar is like that"


def _cron_times(expression: str, after: datetime) -> Iterator[datetime]:
    # With an explicit limit the iteration ends where there is no further match.
    times = croniter(expression, after, datetime, max_years_between_matches=_CRON_YEARS)
    return iter(times.all_next(datetime))


def _rule_problems(expression: str, time_zone: str) -> Iterator[str]:
    lines = expression.split()
    starts = [line for line in lines if line.upper().startswith("DTSTART")]
    rules = [line for line in lines if line.upper().startswith("RRULE:")]
    if len(starts) != 1 or len(rules) != 1 or len(lines) != 2:
        yield (
            "write one DTSTART and one RRULE and nothing else, for example"
            " DTSTART:20260105T080000 and RRULE:FREQ=WEEKLY;BYDAY=MO"
        )
        return
    found = [*_start_problems(starts[0], time_zone), *_part_problems(rules[0])]
    yield from found
    if found:
        return
    rule = _Rule.of(expression)
    try:
        never = next(rule.times(datetime.min), None) is None  # noqa: DTZ901 - a wall-clock time
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        # dateutil says so in any of these ways where parts of a rule exclude each other.
        yield f"RRULE cannot be evaluated, its parts may exclude each other: {error}"
    else:
        if never:
            yield "RRULE is never due: no day of the calendar is like that"


def _start_problems(line: str, time_zone: str) -> Iterator[str]:
    start = _DTSTART.fullmatch(line)
    if start is None:
        yield f"{line!r}: write the local time of time_zone, for example DTSTART:20260105T080000"
        return
    if start["zone"] not in (None, time_zone):
        yield f"TZID of DTSTART is {start['zone']}, time_zone is {time_zone}; they must be the same"
    try:
        at = datetime.strptime(start["at"], _AT)  # noqa: DTZ007
    except ValueError:
        yield f"DTSTART {start['at']} is not a time of the calendar"
        return
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        yield f"DTSTART must be in the years {_FIRST_YEAR} to {_LAST_YEAR}"
    if at.second:
        yield "DTSTART must be a whole minute"


def _part_problems(line: str) -> Iterator[str]:
    pairs = [part.partition("=")[::2] for part in line[len("RRULE:") :].upper().split(";")]
    parts = dict(pairs)
    if len(parts) != len(pairs):
        yield "RRULE names a part more than once"
    frequency = parts.get("FREQ", "")
    if frequency not in _FREQUENCIES:
        yield f"RRULE needs FREQ, one of {', '.join(_FREQUENCIES)}"
    if "COUNT" in parts and "UNTIL" in parts:
        yield "RRULE may have COUNT or UNTIL, not both"
    if frequency == "HOURLY" and "BYSETPOS" in parts:
        yield "BYSETPOS is not possible with FREQ=HOURLY"
    for name, value in parts.items():
        if name in _NUMBERS:
            yield from _number_problems(name, value)
        elif name == "BYDAY":
            days = [_WEEKDAYS.fullmatch(day) for day in value.split(",")]
            if None in days:
                yield f"BYDAY={value}: write MO, TU, WE, TH, FR, SA, SU, or for example 1MO, -1FR"
            elif frequency not in ("MONTHLY", "YEARLY") and any(day and day["nth"] for day in days):
                yield f"BYDAY={value}: numbers are possible with FREQ=MONTHLY and YEARLY only"
        elif name == "UNTIL":
            try:
                _until(value)
            except ValueError:
                yield (
                    f"UNTIL={value}: write an instant in UTC, for example 20261231T205959Z, or a"
                    " local time without Z"
                )
        elif name == "WKST":
            if value not in ("MO", "TU", "WE", "TH", "FR", "SA", "SU"):
                yield f"WKST={value}: write MO, TU, WE, TH, FR, SA or SU"
        elif name != "FREQ":
            known = ", ".join(["FREQ", *_NUMBERS, "BYDAY", "UNTIL", "WKST"])
            yield f"{name or 'an empty part'} is not a part of RRULE here; there are {known}"


def _number_problems(name: str, value: str) -> Iterator[str]:
    allowed = _NUMBERS[name]
    numbers = value.split(",")
    if len(numbers) > 1 and name in _SINGLE:
        yield f"{name}={value}: write one number"
    for number in numbers:
        right = re.fullmatch(r"[+-]?[0-9]{1,6}", number) and int(number) in allowed
        if not right or (allowed.start < 0 and int(number) == 0):
            without = " without 0" if allowed.start < 0 else ""
            yield (
                f"{name}={value}: {number!r} is not a number from {allowed.start} to"
                f" {allowed.stop - 1}{without}"
            )


@dataclass(frozen=True)
class _Rule:
    """An RRULE whose parts are known to be right; its end is kept apart from the rest."""

    start: datetime
    parts: str
    until: str | None

    @classmethod
    def of(cls, expression: str) -> _Rule:
        first, second = sorted(expression.split())  # DTSTART, RRULE
        parts = [p.partition("=")[::2] for p in second[len("RRULE:") :].upper().split(";")]
        return cls(
            datetime.strptime(first.rpartition(":")[2], _AT),  # noqa: DTZ007 - a wall-clock time
            ";".join(f"{name}={value}" for name, value in parts if name != "UNTIL"),
            dict(parts).get("UNTIL"),
        )

    def ends(self, zone: ZoneInfo) -> datetime | None:
        """The last instant that may be due; None without UNTIL."""
        if self.until is None:
            return None
        last = _until(self.until)
        return last if last.tzinfo else instant_of(last, zone)

    def times(self, after: datetime) -> Iterator[datetime]:
        start = self.start.replace(year=self.start.year + _SHIFT)
        for shifted in rrulestr(f"RRULE:{self.parts}", dtstart=start):
            wall = shifted.replace(year=shifted.year - _SHIFT)
            if wall > after:
                yield wall


def _until(value: str) -> datetime:
    """An instant, or a wall-clock time without a time zone."""
    if value.endswith("Z"):
        return datetime.strptime(value, f"{_AT}Z").replace(tzinfo=UTC)
    return datetime.strptime(value, _AT)  # noqa: DTZ007
