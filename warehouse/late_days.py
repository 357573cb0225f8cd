"""Late days: past reporting days whose facts changed at the source after they were read.

Belongs here: reading and writing ``ops.late_days`` and ``ops.late_rows``. Does not belong here: how
changes are found (``resources.late_data``, ``assets.fingerprint``) or what is requested for them
(``resources.late_requests``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from metrics.datasets import DATASETS
from warehouse.statements import statement

_DAILY = [name for name, dataset in DATASETS.items() if dataset.period == "day"]


@dataclass(frozen=True)
class LateRow:
    """A row of the source that the lake does not have, for one past day that it touches."""

    fact: str
    row_key: str
    business_date: date
    recorded_at: datetime


@dataclass(frozen=True)
class LateDay:
    """A past day with a fact that changed after it was read.

    Attributes:
        rows: changed rows, or measures that differ.
        requests: runs requested for it so far.
        requested_at: when the last one was requested; like found_at, by the source's clock.
    """

    business_date: date
    fact: str
    found_at: datetime
    rows: int
    requests: int = 0
    requested_at: datetime | None = None


@dataclass(frozen=True)
class FoundDay:
    """What was newly found late of one day and fact."""

    business_date: date
    fact: str
    rows: int


def record_changes(
    connection: psycopg.Connection[Any],
    rows: Sequence[LateRow],
    found_at: datetime,
    since: Mapping[str, datetime],
) -> list[FoundDay]:
    """Count changed rows to their late days, each row once, in one transaction.

    Args:
        found_at: source clock at which they were found.
        since: by fact, the update time before which no row will be read again.

    Returns:
        What was not counted before.
    """
    with connection.transaction():
        new = connection.execute(
            statement("record_late_rows"),
            {
                "facts": [row.fact for row in rows],
                "row_keys": [row.row_key for row in rows],
                "business_dates": [row.business_date for row in rows],
                "recorded": [row.recorded_at for row in rows],
            },
        ).fetchall()
        for each in new:
            found = {
                "rows": each["rows"],
                "newest_recorded_at": each["newest_recorded_at"].isoformat(),
            }
            _record(connection, each["business_date"], each["fact"], found_at, "change", found)
        for fact, instant in since.items():
            connection.execute(
                "DELETE FROM ops.late_rows WHERE fact = %s AND recorded_at < %s", (fact, instant)
            )
    return [FoundDay(each["business_date"], each["fact"], each["rows"]) for each in new]


def record_differences(
    connection: psycopg.Connection[Any],
    differences: Mapping[tuple[date, str], Sequence[Mapping[str, object]]],
    found_at: datetime,
) -> None:
    """Note days and facts whose counts or sums differ from the source's, in one transaction.

    Args:
        differences: by day and fact, what differs.
        found_at: source time of the comparison.
    """
    with connection.transaction():
        for (day, fact), cells in differences.items():
            found = {"differences": list(cells)}
            _record(connection, day, fact, found_at, "fingerprint", found)


def settle(connection: psycopg.Connection[Any]) -> None:
    """Resolve the late days that were read and published again, and only those."""
    connection.execute(statement("settle_late_days"), {"datasets": _DAILY})


def unresolved(connection: psycopg.Connection[Any]) -> list[LateDay]:
    """Every late day that was not read and published again."""
    rows = connection.execute(
        """SELECT business_date, fact, found_at, requests, requested_at,
                  coalesce((found ->> 'rows')::int, jsonb_array_length(found -> 'differences'))
                      AS rows
        FROM ops.late_days WHERE resolved_at IS NULL ORDER BY business_date, fact"""
    ).fetchall()
    return [LateDay(**row) for row in rows]


def mark_requested(
    connection: psycopg.Connection[Any], ranges: Sequence[tuple[date, date]], requested_at: datetime
) -> None:
    """Note that runs of ranges of days are requested, before they are.

    Args:
        ranges: first and last day of each.
        requested_at: source clock; their runs are known again by it.
    """
    with connection.transaction():
        for first, last in ranges:
            connection.execute(
                "UPDATE ops.late_days SET requests = requests + 1, requested_at = %s"
                " WHERE business_date BETWEEN %s AND %s AND resolved_at IS NULL",
                (requested_at, first, last),
            )


def first_extraction(connection: psycopg.Connection[Any]) -> datetime | None:
    """Source time of the oldest extraction that still stands; None before the first."""
    row = connection.execute(
        "SELECT min(source_snapshot_at) AS oldest FROM ops.extractions"
    ).fetchone()
    oldest: datetime | None = row["oldest"] if row else None
    return oldest


def quarantined_keys(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """By fact, the keys of the rows held in quarantine: they count in no total."""
    rows = connection.execute(
        "SELECT fact, array_agg(DISTINCT row_key) AS keys FROM ops.quarantine GROUP BY fact"
    ).fetchall()
    return {row["fact"]: row["keys"] for row in rows}


def unresolved_references(
    connection: psycopg.Connection[Any], unknown: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows in quarantine that refer to something the catalogue did not have.

    Args:
        unknown: the reasons that say so.

    Returns:
        business_date, fact, row_key, column_name and the id referred to.
    """
    parameters = {"unknown": list(unknown)}
    return connection.execute(statement("unresolved_references"), parameters).fetchall()


def _record(
    connection: psycopg.Connection[Any],
    day: date,
    fact: str,
    found_at: datetime,
    found_by: str,
    found: Mapping[str, object],
) -> None:
    connection.execute(
        statement("record_late_day"),
        {
            "business_date": day,
            "fact": fact,
            "found_at": found_at,
            "found_by": found_by,
            "found": Jsonb(found),
        },
    )
