"""Which of the periods an export was asked for are not there: not loaded never looks like no sales.

Belongs here: pure functions over days. Does not belong here: asking the lake or the warehouse
(``exports.reading``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, timedelta

from exports.filters import Days
from metrics.calendar import month_start, next_month, week_start
from metrics.datasets import Period

_STEPS = {"day": timedelta(1), "week": timedelta(7)}


def gaps(period: Period, asked: Days | None, present: Collection[date]) -> tuple[Days, ...]:
    """Runs of periods that were asked for and are not there, each by its first and last start.

    Args:
        asked: where an end is open, the first or the last period that is there is meant.
        present: starts of the periods that are there; at least one.
    """
    first = (asked and asked.first) or min(present)
    last = (asked and asked.last) or max(present)
    there = frozenset(present)
    runs: list[list[date]] = []
    before = True
    for start in _starts(period, first, last):
        if start in there:
            before = True
            continue
        if before:
            runs.append([start, start])
        runs[-1][1] = start
        before = False
    return tuple(Days(first=run[0], last=run[1]) for run in runs)


def label(runs: Collection[Days]) -> str:
    """For people: ``2026-03-05 to 2026-03-07, 2026-03-09``."""
    return ", ".join(str(run) if run.first != run.last else str(run.first) for run in runs)


def _starts(period: Period, first: date, last: date) -> Iterator[date]:
    """The period's starts from ``first`` to ``last``, both included."""
    if period == "month":
        start = month_start(first)
        start = start if start == first else next_month(first)
    elif period == "week":
        start = week_start(first)
        start = start if start == first else start + _STEPS["week"]
    else:
        start = first
    while start <= last:
        yield start
        start = next_month(start) if period == "month" else start + _STEPS[period]
