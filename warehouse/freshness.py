"""Freshness: how far the numbers go, by what was read and published.

Belongs here: the newest instant of the source that is ingested, the last complete day of each
dataset, and what is missing, waiting or held back; all from the ops tables, never from Dagster's
events. Does not belong here: how it is shown (``pipelines``, ``assets.scoreboard``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg

from metrics.calendar import day_bounds
from metrics.datasets import DAILY_METRICS, DATASETS, EVENT_SUMMARY, Period
from warehouse.statements import statement

_STEPS: dict[Period, str] = {"day": "1 day", "week": "7 days", "month": "1 month"}


@dataclass(frozen=True)
class FactFreshness:
    """How far a source fact is ingested.

    Attributes:
        newest_day: newest reporting day that was read.
        ingested_until: every change committed at the source before it is in the lake: when the
            newest day was read, but not after its end; held back by days that changed and have not
            been read since.
        late_days_waiting: how many such days there are.
    """

    fact: str
    newest_day: date
    ingested_until: datetime
    late_days_waiting: int


@dataclass(frozen=True)
class DatasetFreshness:
    """How far a dataset is published.

    Attributes:
        complete_through: last day such that every partition from the first one is complete, without
            a gap; None where not even the first is.
        newest_partition: first day of the newest partition.
        published_at: when readers last got something new.
        source_watermark: of the newest partition: every source commit before it is included.
        gaps: partitions missing between the first and the last.
        held_back: partitions whose last audit failed, or that of the ledger's day; readers see the
            version before.
    """

    dataset: str
    newest_partition: date
    complete_through: date | None
    published_at: datetime
    source_watermark: datetime | None
    gaps: tuple[str, ...]
    held_back: tuple[str, ...]


@dataclass(frozen=True)
class HeldBack:
    """A partition whose last audit failed.

    Attributes:
        failures: the checks that failed (``check``), each with what it found.
        serving_since: when the version that readers see was published; None where there is none.
    """

    dataset: str
    partition_key: str
    failures: list[dict[str, Any]]
    audited_at: datetime
    run_id: str
    serving_since: datetime | None


@dataclass(frozen=True)
class Quarantined:
    """Rows of a fact that cannot be used, for one reason.

    Attributes:
        first_day: none where their instants are impossible.
    """

    fact: str
    reason: str
    row_count: int
    first_day: date | None
    last_day: date | None
    last_seen_at: datetime


@dataclass(frozen=True)
class WaitingDay:
    """A past day of a fact that changed at the source and has not been read since.

    Attributes:
        requests: runs that were requested for it so far.
    """

    business_date: date
    fact: str
    found_at: datetime
    found_by: str
    requests: int
    requested_at: datetime | None


@dataclass(frozen=True)
class Freshness:
    """Everything above, in one snapshot of the warehouse."""

    facts: tuple[FactFreshness, ...]
    datasets: tuple[DatasetFreshness, ...]
    held_back: tuple[HeldBack, ...]
    quarantined: tuple[Quarantined, ...]
    waiting: tuple[WaitingDay, ...]


def read_freshness(connection: psycopg.Connection[Any], time_zone: str) -> Freshness:
    """Read it.

    Args:
        connection: any role that may read ``ops``, with ``row_factory=dict_row``.
        time_zone: the reporting time zone.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        held_back = tuple(
            HeldBack(**row)
            for row in connection.execute(
                statement("held_back"), {"daily": DAILY_METRICS.name}
            ).fetchall()
        )
        return Freshness(
            facts=tuple(
                FactFreshness(
                    row["fact"],
                    row["newest_day"],
                    min(row["read_until"], day_bounds(time_zone, row["newest_day"])[1]),
                    row["late_days_waiting"],
                )
                for row in connection.execute(statement("fact_freshness")).fetchall()
            ),
            datasets=_datasets(connection, held_back),
            held_back=held_back,
            quarantined=tuple(
                Quarantined(**row)
                for row in connection.execute(statement("quarantined")).fetchall()
            ),
            waiting=tuple(
                WaitingDay(**row)
                for row in connection.execute(statement("waiting_late_days")).fetchall()
            ),
        )


def _datasets(
    connection: psycopg.Connection[Any], held_back: tuple[HeldBack, ...]
) -> tuple[DatasetFreshness, ...]:
    stepped = [dataset for dataset in DATASETS.values() if dataset.period in _STEPS]
    rows = connection.execute(
        statement("dataset_freshness"),
        {
            "daily": DAILY_METRICS.name,
            "datasets": [dataset.name for dataset in stepped],
            "steps": [_STEPS[dataset.period] for dataset in stepped],
        },
    ).fetchall()
    rows += connection.execute(
        statement("summary_freshness"),
        {"daily": DAILY_METRICS.name, "dataset": EVENT_SUMMARY.name},
    ).fetchall()
    found = {row["dataset"]: row for row in rows}
    return tuple(
        DatasetFreshness(
            dataset=name,
            newest_partition=row["newest_partition"],
            complete_through=row["complete_through"],
            published_at=row["published_at"],
            source_watermark=row["source_watermark"],
            gaps=tuple(row.get("gaps", ())),
            held_back=_held_back(name, held_back),
        )
        for name in DATASETS
        if (row := found.get(name)) is not None
    )


def _held_back(name: str, held_back: tuple[HeldBack, ...]) -> tuple[str, ...]:
    layers = {name, "movements"} if DATASETS[name].period == "day" else {name}
    return tuple(sorted({held.partition_key for held in held_back if held.dataset in layers}))
