"""Late requests: which runs the late days need now.

Belongs here: the decision, as a pure function of late days, runs and time. Does not belong here:
finding late days (``resources.late_data``), or talking to Dagster (``sensors.late_data``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from warehouse.late_days import LateDay

RunState = Literal["unfinished", "succeeded", "failed"]

RANGES_AT_ONCE = 4
"""Requested ranges that may be unfinished; what waits meanwhile coalesces further."""

_DAY = timedelta(days=1)
_RETRY_AFTER = timedelta(minutes=10)
_RETRY_AT_MOST = timedelta(hours=6)
_RETRY_CHANGED_AFTER = timedelta(minutes=1)
_LAUNCHED_WITHIN = timedelta(minutes=2)


@dataclass(frozen=True)
class RefreshRun:
    """A run that reads days from the source.

    Attributes:
        requested_at: when the sensor requested it; None if something else did.
    """

    run_id: str
    state: RunState
    first: date
    last: date
    requested_at: datetime | None = None

    def covers(self, day: date) -> bool:
        """Whether it reads the day."""
        return self.first <= day <= self.last


@dataclass(frozen=True)
class Request:
    """A run to request: adjacent late days.

    Attributes:
        rows: by fact, what was found late in them.
        found_at: when the newest of it was found.
        number: how often a run of them was requested, this one included.
    """

    first: date
    last: date
    rows: dict[str, int]
    found_at: datetime
    number: int

    @property
    def run_key(self) -> str:
        """Differs between requests, so that the same days can be requested again."""
        return f"{self.first}..{self.last} found {self.found_at.isoformat()} #{self.number}"

    @property
    def cause(self) -> str:
        """For people: facts with what was found."""
        return ", ".join(f"{fact} {count}" for fact, count in sorted(self.rows.items()))


@dataclass(frozen=True)
class Plan:
    """What to do about the late days.

    Attributes:
        requests: runs to request, those found first first.
        waiting: days for which there is no place yet.
        covered: days that an unfinished run reads, or one that is about to be launched.
        settling: days that have only just ended; their schedule reads them.
        failing: days that are still late after the run requested for them ended, and that run.
        backing_off: days that are not requested again yet.
    """

    requests: list[Request] = field(default_factory=list)
    waiting: list[date] = field(default_factory=list)
    covered: list[date] = field(default_factory=list)
    settling: list[date] = field(default_factory=list)
    failing: dict[date, str] = field(default_factory=dict)
    backing_off: list[date] = field(default_factory=list)


@dataclass(frozen=True)
class _Day:
    """All that is late of one day."""

    rows: Counter[str]
    first_found: datetime
    found_at: datetime
    requests: int
    requested_at: datetime | None


def plan_requests(
    late: Sequence[LateDay],
    runs: Sequence[RefreshRun],
    now: datetime,
    *,
    days_per_run: int,
    settling: frozenset[date] = frozenset(),
    ranges_at_once: int = RANGES_AT_ONCE,
) -> Plan:
    """Decide which runs to request.

    Args:
        late: every late day that was not read again since.
        runs: unfinished runs that read the source, and the finished ones the sensor requested.
        now: by the clock of the source, as everything in ``late``.
        days_per_run: the most days of one run.
        settling: days left to their schedule for now.
    """
    plan, due = Plan(), {}
    for day, merged in _by_day(late).items():
        if any(run.covers(day) and run.state == "unfinished" for run in runs):
            plan.covered.append(day)
        elif day in settling:
            plan.settling.append(day)
        else:
            last = next((r for r in runs if _answers(r, day, merged)), None)
            if last is not None and not (last.state == "succeeded" and _changed_since(merged)):
                plan.failing[day] = last.run_id
            if merged.requested_at is None or now >= _due_at(merged.requested_at, merged, last):
                due[day] = merged
            elif last is None:
                plan.covered.append(day)
            else:
                plan.backing_off.append(day)
    unfinished = sum(r.state == "unfinished" and r.requested_at is not None for r in runs)
    places = max(0, ranges_at_once - unfinished)
    ranges = sorted(
        coalesce(sorted(due), days_per_run),
        key=lambda days: min(due[day].first_found for day in days),
    )
    plan.requests.extend(_request(days, due) for days in ranges[:places])
    plan.waiting.extend(day for days in ranges[places:] for day in days)
    return plan


def coalesce(days: Sequence[date], days_per_run: int) -> Iterator[list[date]]:
    """Cut days, in order, into ranges of adjacent days.

    Args:
        days_per_run: the most days of one range.
    """
    current: list[date] = []
    for day in days:
        if current and (day != current[-1] + _DAY or len(current) == days_per_run):
            yield current
            current = []
        current.append(day)
    if current:
        yield current


def _by_day(late: Sequence[LateDay]) -> dict[date, _Day]:
    found: dict[date, list[LateDay]] = {}
    for each in late:
        found.setdefault(each.business_date, []).append(each)
    return {
        day: _Day(
            rows=Counter({each.fact: each.rows for each in facts}),
            first_found=min(each.found_at for each in facts),
            found_at=max(each.found_at for each in facts),
            requests=max(each.requests for each in facts),
            requested_at=max((e.requested_at for e in facts if e.requested_at), default=None),
        )
        for day, facts in sorted(found.items())
    }


def _answers(run: RefreshRun, day: date, late: _Day) -> bool:
    """Whether a run is the last one that was requested for a late day."""
    return run.covers(day) and run.requested_at == late.requested_at is not None


def _changed_since(late: _Day) -> bool:
    """Whether more was found after the last request, so that its run may have missed it."""
    return late.requested_at is not None and late.found_at > late.requested_at


def _due_at(requested_at: datetime, late: _Day, last: RefreshRun | None) -> datetime:
    """When a day that was requested before may be requested again."""
    if last is None:  # Dagster was killed before it launched the run, or is about to launch it
        return requested_at + _LAUNCHED_WITHIN
    if _changed_since(late):  # what was found since may be what mends it
        return requested_at + (_RETRY_CHANGED_AFTER if last.state == "failed" else timedelta())
    doubled = 1 << min(late.requests - 1, 16)
    return requested_at + min(_RETRY_AFTER * doubled, _RETRY_AT_MOST)


def _request(days: Sequence[date], due: dict[date, _Day]) -> Request:
    merged = [due[day] for day in days]
    return Request(
        first=days[0],
        last=days[-1],
        rows=dict(sum((each.rows for each in merged), Counter())),
        found_at=max(each.found_at for each in merged),
        number=max(each.requests for each in merged) + 1,
    )
