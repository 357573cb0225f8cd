"""Restatements: what changed of a closed period that readers had been given, and why.

Belongs here: comparing the rows of two versions, naming the cause of each changed value, and the
rows of ``ops.restatements`` and ``ops.restatement_movements``. Does not belong here: finding the
movements that differ, which the caller hands in (``LedgerHistory``), or the transaction
(``warehouse.publish``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from metrics.calendar import next_month, parse_date
from metrics.datasets import Dataset
from metrics.registry import METRICS, Distinct, Stored, terms

DELETION = "deletion"
CORRECTION = "correction"
LATE_DATA = "late_data"
LATE_REFUND = "late_refund"
DEFINITION_CHANGE = "definition_change"
BACKFILL = "backfill"
SEVERITY = (DELETION, CORRECTION, LATE_DATA, LATE_REFUND, DEFINITION_CHANGE, BACKFILL)
"""Causes, the most severe first."""

Scope = tuple[str | int, ...]
Cell = tuple[int, int, str, Scope]
"""Organizer, event, currency and the further columns of the dataset's grain."""


@dataclass(frozen=True)
class Behind:
    """The movements behind the change of one measure of one cell.

    Attributes:
        delta: by how much they change the measure; money in minor units.
        removed: movements that are gone.
        changed: movements that are there with another value, or in another cell.
        refunds: refunds that are new.
        others: other movements that are new.
    """

    delta: int
    removed: int
    changed: int
    refunds: int
    others: int


@dataclass(frozen=True)
class ChangedMovement:
    """A movement that differs between two states of the ledger, in one cell it counts in.

    Attributes:
        change: ``added``, ``changed`` or ``removed``.
        deltas: change of each base measure that changed; money in minor units.
    """

    cell: Cell
    movement_id: str
    kind: str
    change: str
    effective_at: datetime | None
    recorded_at: datetime | None
    deltas: Mapping[str, int]


@dataclass(frozen=True)
class LedgerChanges:
    """What differs of a partition between two states of the ledger.

    Attributes:
        behind: by cell and measure; of a distinct count the movements that count in it.
        movements: every movement that differs; may be read once.
    """

    behind: Mapping[tuple[Cell, str], Behind]
    movements: Iterable[ChangedMovement]


class LedgerHistory(Protocol):
    """Where the ledger can be compared with what it was."""

    def changes(
        self,
        dataset: Dataset,
        partition_key: str,
        versions: tuple[Version, Version],
        events: Collection[int],
    ) -> LedgerChanges | None:
        """What differs of one day between what two versions were computed from, older first.

        Returns:
            None where what the older one was computed from can no longer be read.
        """
        ...


@dataclass(frozen=True)
class Restatement:
    """One published value of a closed period that changed.

    Attributes:
        scope: further columns of the dataset's grain.
        old_value: 0 where there was no row; money in minor units.
        new_value: 0 where there is no row.
        cause: one of ``SEVERITY``.
    """

    organizer_id: int
    event_id: int
    currency: str
    scope: Mapping[str, str | int]
    metric: str
    old_value: int
    new_value: int
    cause: str


@dataclass(frozen=True)
class Version:
    """One version of a partition, as far as a restatement needs to know it."""

    publication_id: int
    input_version: int
    lake_snapshot: int
    source_watermark: datetime | None
    code_version: str


_TYPES: dict[str, pl.DataType] = {
    "bigint": pl.Int64(),
    "date": pl.Date(),
    "text": pl.String(),
    "timestamptz": pl.Datetime("us", "UTC"),
}


def row_schema(dataset: Dataset) -> dict[str, pl.DataType]:
    """Columns of a dataset's rows with their types."""
    columns = (*dataset.grain, *dataset.attributes)
    metrics = dict.fromkeys(dataset.metric_names, _TYPES["bigint"])
    return {column.name: _TYPES[column.type] for column in columns} | metrics


def restate(
    connection: psycopg.Connection[Any],
    dataset: Dataset,
    partition_key: str,
    rows: tuple[pl.DataFrame, pl.DataFrame],
    versions: tuple[Version, Version],
    history: LedgerHistory | None,
    *,
    was_final: bool,
    run_id: str,
) -> tuple[Restatement, ...]:
    """Within the transaction of a publication: record what it changes, and why.

    Args:
        rows: of the replaced version and of the new one.
        versions: the replaced one and the new one.
        history: for datasets of daily grain; without it no movements are named.
    """
    old, new = versions
    changed = changed_cells(dataset, *rows)
    if not changed:
        return ()
    unexplained = DEFINITION_CHANGE if old.code_version != new.code_version else BACKFILL
    behind: Mapping[tuple[Cell, str], Behind] = {}
    of_days: dict[tuple[int, str, str], set[str]] = {}
    if dataset.period != "day":
        of_days = _causes_of_days(connection, dataset, partition_key, old, new)
    elif history is not None and old.lake_snapshot != new.lake_snapshot:
        events = {event for (_, event, _, _), *_ in changed}
        if changes := history.changes(dataset, partition_key, versions, events):
            behind = changes.behind
            _write_movements(connection, dataset, new.publication_id, changes.movements)
    names = [column.name for column in dataset.scope]
    restatements = tuple(
        Restatement(
            *cell[:3],
            dict(zip(names, cell[3], strict=True)),
            metric,
            was,
            now,
            cause(METRICS[metric], now - was, cell, behind, unexplained)
            if dataset.period == "day"
            else rolled_up_cause(METRICS[metric], cell, of_days, unexplained),
        )
        for cell, metric, was, now in changed
    )
    _write(connection, dataset, partition_key, restatements, versions, was_final, run_id)
    return restatements


def changed_cells(
    dataset: Dataset, old: pl.DataFrame, new: pl.DataFrame
) -> list[tuple[Cell, str, int, int]]:
    """Cell, metric, old and new value of everything that differs; a missing row counts as 0."""
    beyond = [column.name for column in dataset.scope]
    key = ["organizer_id", "event_id", "currency", *beyond]
    schema = row_schema(dataset)
    typed = [pl.col(name).cast(schema[name]) for name in (*key, *dataset.metric_names)]
    both = new.select(typed).join(old.select(typed), on=key, how="full", coalesce=True)
    both = both.with_columns(pl.exclude(key).fill_null(0)).sort(key)
    found = []
    for metric in dataset.metric_names:
        was, now = f"{metric}_right", metric
        differing = both.filter(pl.col(was) != pl.col(now)).select(*key, was, now)
        for organizer, event, currency, *rest in differing.iter_rows():
            *scope, before, after = rest
            found.append(((organizer, event, currency, tuple(scope)), metric, before, after))
    return found


def cause(
    metric: Stored,
    change: int,
    cell: Cell,
    behind: Mapping[tuple[Cell, str], Behind],
    unexplained: str,
) -> str:
    """Why a daily value changed: from its movements where they explain it exactly."""
    signs = {metric.name: 0} if isinstance(metric, Distinct) else terms(metric)
    parts = [
        (sign, part)
        for name, sign in signs.items()
        if (part := behind.get((cell, name))) is not None
    ]
    explained = bool(parts) and (
        isinstance(metric, Distinct) or sum(sign * part.delta for sign, part in parts) == change
    )
    if not explained:
        return unexplained
    if any(part.removed for _, part in parts):
        return DELETION
    if any(part.changed for _, part in parts):
        return CORRECTION
    return LATE_DATA if any(part.others for _, part in parts) else LATE_REFUND


def rolled_up_cause(
    metric: Stored,
    cell: Cell,
    of_days: Mapping[tuple[int, str, str], Collection[str]],
    unexplained: str,
) -> str:
    """Why a rolled up value changed: the most severe cause of its days.

    A distinct count may change where those of its days do not; then what its orders say counts.

    Args:
        of_days: causes by event, currency and metric.
    """
    _, event, currency, _ = cell
    causes = set(of_days.get((event, currency, metric.name), ()))
    if not causes and isinstance(metric, Distinct):
        related = [other.name for other in METRICS.values() if other.day == metric.day]
        causes = {c for name in related for c in of_days.get((event, currency, name), ())}
    return min(causes, key=SEVERITY.index) if causes else unexplained


def _causes_of_days(
    connection: psycopg.Connection[Any],
    dataset: Dataset,
    partition_key: str,
    old: Version,
    new: Version,
) -> dict[tuple[int, str, str], set[str]]:
    first, last = _days(dataset, partition_key)
    rows = connection.execute(
        """SELECT DISTINCT event_id, currency, metric, cause FROM ops.restatements
        WHERE dataset = 'daily_metrics' AND partition_key BETWEEN %s AND %s
          AND publication_id > %s AND publication_id <= %s""",
        (first, last, old.input_version, new.input_version),
    ).fetchall()
    causes: dict[tuple[int, str, str], set[str]] = {}
    for row in rows:
        key = (row["event_id"], row["currency"], row["metric"])
        causes.setdefault(key, set()).add(row["cause"])
    return causes


def _days(dataset: Dataset, partition_key: str) -> tuple[str, str]:
    """First and last day of a period, as partition keys."""
    if dataset.period == "all":
        return "", "9999-12-31"
    first = parse_date(partition_key)
    following = first + timedelta(days=7) if dataset.period == "week" else next_month(first)
    return partition_key, (following - timedelta(days=1)).isoformat()


def _write(
    connection: psycopg.Connection[Any],
    dataset: Dataset,
    partition_key: str,
    restatements: Iterable[Restatement],
    versions: tuple[Version, Version],
    was_final: bool,
    run_id: str,
) -> None:
    old, new = versions
    _copy(
        connection,
        """COPY ops.restatements (dataset, partition_key, publication_id,
            replaced_publication_id, organizer_id, event_id, currency, scope, metric, old_value,
            new_value, cause, was_final, run_id) FROM STDIN""",
        (
            (
                dataset.name,
                partition_key,
                new.publication_id,
                old.publication_id,
                found.organizer_id,
                found.event_id,
                found.currency,
                Jsonb(found.scope),
                found.metric,
                found.old_value,
                found.new_value,
                found.cause,
                was_final,
                run_id,
            )
            for found in restatements
        ),
    )


def _write_movements(
    connection: psycopg.Connection[Any],
    dataset: Dataset,
    publication_id: int,
    movements: Iterable[ChangedMovement],
) -> None:
    names = [column.name for column in dataset.scope]

    def rows() -> Iterator[tuple[Any, ...]]:
        for movement in movements:
            organizer, event, currency, scope = movement.cell
            yield (
                publication_id,
                movement.movement_id,
                event,
                organizer,
                currency,
                Jsonb(dict(zip(names, scope, strict=True))),
                movement.kind,
                movement.change,
                movement.effective_at,
                movement.recorded_at,
                Jsonb(movement.deltas),
            )

    _copy(
        connection,
        """COPY ops.restatement_movements (publication_id, movement_id, event_id, organizer_id,
            currency, scope, kind, change, effective_at, recorded_at, deltas) FROM STDIN""",
        rows(),
    )


def _copy(
    connection: psycopg.Connection[Any], statement: str, rows: Iterable[tuple[Any, ...]]
) -> None:
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as writer:
        for row in rows:
            writer.write_row(row)
