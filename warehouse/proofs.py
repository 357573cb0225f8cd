"""Proofs: whether every layer says the same, as of its last audit and as of now.

Belongs here: the record of the last audit at each hop, and the comparisons Postgres can make by
itself, at any time: finished tables with what was published, days with weeks, months and kept sums.
Does not belong here: audits before publication (``assets.publishing``), or how a proof is shown
(``assets.scoreboard``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from metrics.datasets import DAILY_METRICS, DATASETS, Dataset, Period
from metrics.registry import Distinct
from warehouse.statements import statement
from warehouse.sum_tables import ORGANIZER_DAYS

_LENGTHS: dict[Period, str] = {"week": "7 days", "month": "1 month"}
_HOPS = {"raw": "source -> raw", "movements": "raw -> movements"}


@dataclass(frozen=True)
class Proof:
    """What comparing two layers found, over all partitions.

    Attributes:
        hop: the two layers.
        partitions: compared, whatever came of it.
        proven: without a difference.
        cells: sums compared; None where they are not counted.
        at: when it was last done.
        differences: what is wrong, each with where it is and both values.
        behind: periods not compared because they have not followed their newest day yet.
    """

    dataset: str
    hop: str
    partitions: int
    proven: int
    cells: int | None
    at: datetime | None
    differences: tuple[str, ...] = ()
    behind: int = 0


def last_proofs(connection: psycopg.Connection[Any]) -> list[Proof]:
    """The last audit of every partition, by hop."""
    rows = connection.execute(statement("proofs")).fetchall()
    found = {row["dataset"]: row for row in rows}
    return [
        Proof(
            name,
            _hop(name),
            row["partitions"],
            row["proven"],
            row["cells"],
            row["last_proof_at"],
            tuple(f"{key} is held back" for key in row["held_back"] or ()),
        )
        for name in ("raw", "movements", *DATASETS)
        if (row := found.get(name)) is not None
    ]


def prove_now(connection: psycopg.Connection[Any], now: datetime) -> list[Proof]:
    """Compare what readers see with what was published, and days with weeks, months and kept sums.

    In one snapshot of the warehouse, so that a publication meanwhile is no difference.

    Args:
        connection: any role that may read ``reporting`` and ``ops``, ``row_factory=dict_row``.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        proofs = [_prove_table(connection, dataset, now) for dataset in DATASETS.values()]
        proofs += [
            _prove_rollup(connection, dataset, now)
            for dataset in DATASETS.values()
            if dataset.period in _LENGTHS
        ]
        proofs.append(_prove_kept_sums(connection, now))
    return proofs


def _hop(name: str) -> str:
    if name in _HOPS:
        return _HOPS[name]
    daily = DATASETS[name].period == "day"
    return f"movements -> {name}" if daily else f"{DAILY_METRICS.name} -> {name}"


def _prove_table(connection: psycopg.Connection[Any], dataset: Dataset, now: datetime) -> Proof:
    query = statement(
        "reporting_proof",
        dataset=dataset.name,
        partition_key="'all'::text"
        if dataset.period == "all"
        else f"to_char({dataset.grain[0].name}, 'YYYY-MM-DD')",
        metrics=dataset.metric_names,
    )
    hop = f"{dataset.name} -> postgres"
    text = "{partition_key} {currency} {metric}: published {published}, now {reported}"
    return _prove(connection, dataset, hop, query, text, now)


def _prove_rollup(connection: psycopg.Connection[Any], dataset: Dataset, now: datetime) -> Proof:
    query = statement(
        "rollup_proof",
        dataset=dataset.name,
        daily=DAILY_METRICS.name,
        column=dataset.grain[0].name,
        period=dataset.period,
        length=_LENGTHS[dataset.period],
        metrics=[m.name for m in dataset.metrics if not isinstance(m, Distinct)],
    )
    hop = f"published days -> {dataset.name}"
    text = (
        "{partition_key} event {event_id} {currency} {metric}: its days {published}, the"
        f" {dataset.period} {{reported}}"
    )
    return _prove(connection, dataset, hop, query, text, now)


def _prove_kept_sums(connection: psycopg.Connection[Any], now: datetime) -> Proof:
    metrics = [m.name for m in DAILY_METRICS.metrics if not isinstance(m, Distinct)]
    query = statement("organizer_days_proof", daily=DAILY_METRICS.name, metrics=metrics)
    hop = f"{DAILY_METRICS.name} -> {ORGANIZER_DAYS.name}"
    text = (
        "{partition_key} organizer {organizer_id} {currency} {metric}: its events {published},"
        " kept {reported}"
    )
    return _prove(connection, DAILY_METRICS, hop, query, text, now)


def _prove(
    connection: psycopg.Connection[Any],
    dataset: Dataset,
    hop: str,
    query: bytes,
    text: str,
    now: datetime,
) -> Proof:
    """What a statement that compares two layers found; ``text`` says a difference in words."""
    row = _one(connection, query)
    wrong = {found["partition_key"] for found in row["differences"]}
    return Proof(
        dataset.name,
        hop,
        row["partitions"],
        row["partitions"] - len(wrong),
        row["cells"],
        now,
        tuple(text.format(**found) for found in row["differences"]),
        row.get("behind", 0),
    )


def _one(connection: psycopg.Connection[Any], query: bytes) -> dict[str, Any]:
    row: dict[str, Any] | None = connection.execute(query).fetchone()
    if row is None:
        raise RuntimeError("the warehouse returned no row where one was due")
    return row
