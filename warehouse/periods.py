"""Period states: when a published period is open, provisional or final.

Belongs here: the measured lateness of the source, and when it says that nothing more is to be
expected. Does not belong here: measuring it (``assets.ledger``), or restatements
(``warehouse.publish``).

An *open* period is not complete. A *provisional* one is, but late rows may still come. A *final*
one is old enough for 99.5 % of movements to have been recorded, or for the configured age. A final
period stays final: a change after that is a restatement that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import psycopg

from metrics.calendar import DayRange, business_date
from metrics.datasets import DAILY_METRICS, DATASETS, Period
from warehouse.statements import statement

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
LATENESS_EDGES: tuple[int, ...] = (
    *(_MINUTE, 10 * _MINUTE, _HOUR, 6 * _HOUR),
    *(days * _DAY for days in (1, 2, 3, 5, 7, 14, 21, 30, 45, 60, 90, 180)),
)
"""Upper edges of the buckets of lateness, in seconds."""

BEYOND = 36_500 * _DAY
"""Edge of the bucket beyond every other one: a hundred years, in seconds."""

LATENESS_KINDS: tuple[str, ...] = (
    "payment",
    "refund",
    "check_in",
    "order_cancelled",
    "order_expired",
    "ticket_cancelled",
    "dispute_reinstated",
)
"""Kinds of movement whose ``recorded_at`` tells when they became known.

It is the last time the platform wrote the row. The rows of these kinds are not written again once
the movement is in them, except to correct it, and a correction is late data. Others are written
again by design: an order placed is completed later, a ticket sold is cancelled, a dispute
withdrawn is reinstated, page views are counted on. Their ``recorded_at`` says nothing of lateness.
"""

_ARRIVED_PER_MILLE = 995
_MEASURED_DAYS = 90
_LEAST_AGE = timedelta(hours=1)
_LENGTHS: dict[Period, str] = {"week": "7 days", "month": "1 month"}


class State(StrEnum):
    """How much a published period may still change."""

    OPEN = "open"
    PROVISIONAL = "provisional"
    FINAL = "final"


def state(*, is_complete: bool, final_at: datetime | None) -> State:
    """State of a partition as ``ops.partitions`` has it."""
    if final_at is not None:
        return State.FINAL
    return State.PROVISIONAL if is_complete else State.OPEN


def bucket_name(edge: int) -> str:
    """How a bucket of lateness is shown, by its upper edge in seconds: ``1 min``, ``6 h``, ``2 d``.

    The last bucket has no end: ``beyond``.
    """
    if edge >= BEYOND:
        return "beyond"
    for seconds, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if edge % seconds == 0:
            return f"{edge // seconds} {unit}"
    return f"{edge} s"


def quantile_edge(histogram: Mapping[int, int], per_mille: int) -> int | None:
    """Upper edge of the bucket in which a quantile lies: never less than the quantile itself.

    Args:
        histogram: movements by upper edge, in seconds.
        per_mille: share of the movements at or below the quantile, 1 to 1000.

    Returns:
        Seconds; None where nothing was measured.
    """
    total = sum(histogram.values())
    if total == 0:
        return None
    within = 0
    for edge in sorted(histogram):
        within += histogram[edge]
        if within * 1000 >= total * per_mille:
            return edge
    raise ValueError(f"{per_mille} is not a share per mille")


def age_of_finality(lateness_seconds: int | None, configured: timedelta) -> timedelta:
    """Age from which a complete day is final: the measured lateness or the configured age.

    The smaller of the two, but never under an hour.

    Args:
        lateness_seconds: from ``quantile_edge``; None where nothing was measured.
    """
    measured = configured if lateness_seconds is None else timedelta(seconds=lateness_seconds)
    return max(_LEAST_AGE, min(measured, configured))


@dataclass(frozen=True)
class Lateness:
    """Movements of one day and kind that were recorded within so many seconds."""

    business_date: date
    kind: str
    within_seconds: int
    movements: int


@dataclass(frozen=True)
class PeriodStates:
    """The states of all periods, and the lateness they follow from.

    Attributes:
        histogram: movements of the measured days by upper edge of their lateness, in seconds.
        p995_seconds: lateness within which 99.5 % of them were recorded; None without movements.
        final_after: age from which a complete day is final.
        counts: partitions by dataset and state.
        made_final: partitions that became final just now, by dataset.
    """

    histogram: dict[int, int]
    p995_seconds: int | None
    final_after: timedelta
    counts: dict[str, dict[State, int]]
    made_final: dict[str, int]


def replace_lateness(
    connection: psycopg.Connection[Any], days: DayRange, lateness: Sequence[Lateness]
) -> None:
    """Replace the histogram of a range of days, in one statement."""
    connection.execute(
        statement("replace_lateness"),
        {
            "first": days.first,
            "last": days.last,
            "business_date": [bucket.business_date for bucket in lateness],
            "kind": [bucket.kind for bucket in lateness],
            "within_seconds": [bucket.within_seconds for bucket in lateness],
            "movements": [bucket.movements for bucket in lateness],
        },
    )


def read_states(
    connection: psycopg.Connection[Any], time_zone: str, final_after_days: int, now: datetime
) -> PeriodStates:
    """The states as they are, without changing any; ``now`` is an aware instant."""
    since = business_date(time_zone, now) - timedelta(days=_MEASURED_DAYS)
    rows = connection.execute(statement("lateness"), {"since": since}).fetchall()
    histogram = {row["within_seconds"]: row["movements"] for row in rows}
    p995 = quantile_edge(histogram, _ARRIVED_PER_MILLE)
    counts = {
        row["dataset"]: {member: row[member.value] for member in State}
        for row in connection.execute(statement("period_states")).fetchall()
    }
    final_after = age_of_finality(p995, timedelta(days=final_after_days))
    return PeriodStates(histogram, p995, final_after, counts, {})


def declare_final(
    connection: psycopg.Connection[Any], time_zone: str, final_after_days: int, now: datetime
) -> PeriodStates:
    """Make the periods final whose time has come, days first, then weeks and months.

    Held-back days, and days with a late change that was not read yet, stay provisional.

    Args:
        connection: as the publisher role, with ``row_factory=dict_row``.
        now: an aware instant.
    """
    with connection.transaction():
        final_after = read_states(connection, time_zone, final_after_days, now).final_after
        # A day has ended by an instant exactly if it is before the day of the instant.
        before = business_date(time_zone, now - final_after)
        made: dict[str, int] = {}
        daily = [dataset.name for dataset in DATASETS.values() if dataset.period == "day"]
        for name in daily:
            made[name] = connection.execute(
                statement("finalize_days"), {"dataset": name, "before": before.isoformat()}
            ).rowcount
        for dataset in DATASETS.values():
            if dataset.period in _LENGTHS:
                made[dataset.name] = connection.execute(
                    statement("finalize_rollup"),
                    {
                        "dataset": dataset.name,
                        "length": _LENGTHS[dataset.period],
                        "days": DAILY_METRICS.name,
                    },
                ).rowcount
        states = read_states(connection, time_zone, final_after_days, now)
    return PeriodStates(
        states.histogram, states.p995_seconds, states.final_after, states.counts, made
    )
