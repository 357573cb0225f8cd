"""Days named by their distance from today: what a recurring export asks for each time anew.

Belongs here: the names and the days they mean. Does not belong here: the filters they become
(``exports.filters``) or when an export is due (``exports.recurrence``).

Where a filter takes days, ``{"relative": "last_month"}`` may stand instead of ``first`` and
``last``. Today is the reporting day on which the export was due, however late it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta

from exports.filters import Problem, RequestError
from metrics.calendar import month_start, next_month, week_start

_DAY = timedelta(days=1)
_Days = tuple[date, date]


def _before(count: int) -> Callable[[date], _Days]:
    return lambda today: (today - count * _DAY, today - _DAY)


def _after(count: int) -> Callable[[date], _Days]:
    return lambda today: (today + _DAY, today + count * _DAY)


def _last_week(today: date) -> _Days:
    monday = week_start(today)
    return monday - 7 * _DAY, monday - _DAY


def _last_month(today: date) -> _Days:
    last = month_start(today) - _DAY
    return month_start(last), last


def _next_month(today: date) -> _Days:
    first = next_month(today)
    return first, next_month(first) - _DAY


RELATIVE_DAYS: Mapping[str, Callable[[date], _Days]] = {
    "today": lambda today: (today, today),
    "yesterday": _before(1),
    "last_7_days": _before(7),
    "last_28_days": _before(28),
    "last_30_days": _before(30),
    "last_90_days": _before(90),
    "last_365_days": _before(365),
    "this_week": lambda today: (week_start(today), today),
    "last_week": _last_week,
    "this_month": lambda today: (month_start(today), today),
    "last_month": _last_month,
    "this_year": lambda today: (today.replace(month=1, day=1), today),
    "last_year": lambda today: (date(today.year - 1, 1, 1), date(today.year - 1, 12, 31)),
    "next_7_days": _after(7),
    "next_30_days": _after(30),
    "next_month": _next_month,
}
"""Name → first and last day, both included. ``last_N_days`` end yesterday and ``next_N_days`` begin
tomorrow; ``this_...`` ends today; weeks are ISO weeks, from Monday to Sunday."""


def resolve(filters: Mapping[str, object], today: date) -> dict[str, object]:
    """Plain filters: relative days become fixed ones, everything else stays as it is.

    Args:
        filters: plain JSON data of which nothing is known yet.
        today: the reporting day that relative days are counted from.

    Raises:
        RequestError: with every name that is unknown.
    """
    plain: dict[str, object] = {}
    problems: list[Problem] = []
    for name, value in filters.items():
        if not isinstance(value, Mapping) or "relative" not in value:
            plain[name] = value
            continue
        relative = value["relative"]
        if len(value) > 1:
            message = "give relative alone, or first, last or both"
            problems.append(Problem(f"filters.{name}", message))
        elif not isinstance(relative, str) or relative not in RELATIVE_DAYS:
            message = f"{relative!r} is not known; there are {', '.join(RELATIVE_DAYS)}"
            problems.append(Problem(f"filters.{name}.relative", message))
        else:
            first, last = RELATIVE_DAYS[relative](today)
            plain[name] = {"first": first.isoformat(), "last": last.isoformat()}
    if problems:
        raise RequestError(problems)
    return plain
