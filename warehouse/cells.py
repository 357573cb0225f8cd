"""Cells: one published value of a finished dataset, and what the warehouse knows of it.

Belongs here: finding a cell by dataset, period, event and metric, with its version, inputs and
restatements. Does not belong here: the movements behind it (``assets.explain``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from metrics.calendar import month_start, next_month, parse_date, week_start
from metrics.datasets import DAILY_METRICS, DATASETS, Dataset
from metrics.registry import METRICS, RATIOS, Distinct, Stored
from warehouse.periods import State, state
from warehouse.statements import statement

_COMMON = ("organizer_id", "event_id", "currency")
_LISTED = 20
ALL = "all"
"""Partition of a dataset over all days."""


class UnknownCellError(ValueError):
    """There is no such cell; the message says what there is."""


@dataclass(frozen=True)
class Cell:
    """One published value.

    Attributes:
        day: any reporting day of the period; not needed for a dataset over all days.
        currency: needed only where the event has rows in several.
        scope: further columns of the dataset's grain, for example ``provider``. The value is the
            sum over those that are not given.
    """

    dataset: str
    metric: str
    event_id: int
    day: date | None = None
    currency: str | None = None
    scope: dict[str, str | int] | None = None


@dataclass(frozen=True)
class Version:
    """The publication a value is read from.

    Attributes:
        input_version: lake snapshot of a day; newest publication of a rollup's days.
        source_watermark: every source commit before it is included.
    """

    publication_id: int
    data_version: str
    input_version: int
    lake_snapshot: int
    source_watermark: datetime | None
    is_complete: bool
    run_id: str
    code_version: str
    published_at: datetime
    state: State
    final_at: datetime | None


@dataclass(frozen=True)
class Input:
    """What was last read from the source of one fact, over the days of the value.

    Attributes:
        days: reporting days that were read.
        is_newer: whether some of it was read after the value was computed.
    """

    fact: str
    days: int
    oldest_snapshot_at: datetime
    newest_snapshot_at: datetime
    row_count: int
    quarantined_count: int
    is_newer: bool


@dataclass(frozen=True)
class Restatement:
    """A change of the value after its period was complete."""

    restatement_id: int
    publication_id: int
    replaced_publication_id: int
    scope: dict[str, Any]
    old_value: int
    new_value: int
    cause: str
    was_final: bool
    run_id: str
    restated_at: datetime


@dataclass(frozen=True)
class FoundCell:
    """A cell as the warehouse has it.

    Attributes:
        first: first reporting day it covers.
        last: last reporting day it covers.
        value: as readers see it; money in minor units of the currency.
        rows: published rows it is the sum of; 0 means there are none, so the value is 0.
        compared_snapshot: newest lake snapshot whose content was found to be the same.
        days: of a rollup: the days it was summed from, with the lake snapshot of each.
        inputs: what was last read of each fact for these days.
        restatements: oldest first.
        held_back: failed audits that keep something newer from readers: the partition's own, and
            those of its days.
    """

    partition_key: str
    first: date
    last: date
    organizer_id: int | None
    currency: str
    value: int
    rows: int
    version: Version
    compared_snapshot: int
    days: tuple[tuple[date, int], ...]
    inputs: tuple[Input, ...]
    restatements: tuple[Restatement, ...]
    held_back: tuple[dict[str, Any], ...]


def dataset_and_metric(cell: Cell) -> tuple[Dataset, Stored]:
    """The declarations of a cell's dataset and metric; raises ``UnknownCellError``."""
    dataset = DATASETS.get(cell.dataset)
    if dataset is None:
        raise UnknownCellError(
            f"there is no dataset {cell.dataset!r}; there are {', '.join(DATASETS)}"
        )
    if ratio := RATIOS.get(cell.metric):
        raise UnknownCellError(
            f"{cell.metric} is a quotient and not stored: {ratio.formula}; explain these two"
        )
    if cell.metric not in dataset.metric_names:
        raise UnknownCellError(
            f"{dataset.name} has no metric {cell.metric!r}; it has"
            f" {', '.join(dataset.metric_names)}"
        )
    unknown = set(cell.scope or {}) - set(scope_columns(dataset))
    if unknown:
        raise UnknownCellError(
            f"{dataset.name} has no column {', '.join(sorted(unknown))} in its grain; it has"
            f" {', '.join(scope_columns(dataset)) or 'none beyond event and currency'}"
        )
    return dataset, METRICS[cell.metric]


def scope_columns(dataset: Dataset) -> list[str]:
    """Columns of a dataset's grain beyond period, organizer, event and currency."""
    return [column.name for column in dataset.grain[1:] if column.name not in _COMMON]


def _partition_key(dataset: Dataset, day: date | None) -> str:
    if dataset.period == "all":
        return ALL
    if day is None:
        raise UnknownCellError(
            f"{dataset.name} has a value for each {dataset.period}; give a day of it"
        )
    starts = {"day": day, "week": week_start(day), "month": month_start(day)}
    return starts[dataset.period].isoformat()


def _period(dataset: Dataset, key: str) -> tuple[date, date]:
    first = parse_date(key)
    if dataset.period == "week":
        return first, first + timedelta(days=6)
    if dataset.period == "month":
        return first, next_month(first) - timedelta(days=1)
    return first, first


def find_cell(
    connection: psycopg.Connection[dict[str, Any]],
    dataset: Dataset,
    metric: Stored,
    cell: Cell,
    facts: Sequence[str],
) -> FoundCell:
    """Find a cell; run it in one snapshot of the warehouse.

    Args:
        facts: source facts that are its inputs.

    Raises:
        UnknownCellError: the event, currency or day does not exist; says what does.
    """
    key = _partition_key(dataset, cell.day)
    partition = connection.execute(
        statement("explain_partition"), {"dataset": dataset.name, "partition_key": key}
    ).fetchone()
    if partition is None:
        raise UnknownCellError(_unpublished(connection, dataset, key))
    rows = _cell_rows(connection, dataset, metric, cell, key)
    currency = _currency(connection, dataset, cell, rows, key)
    rows = [row for row in rows if row["currency"] == currency]
    if isinstance(metric, Distinct) and len(rows) > 1:
        raise UnknownCellError(
            f"{metric.name} is a distinct count: {len(rows)} rows cannot be summed"
        )
    days: tuple[tuple[date, int], ...] = ()
    if dataset.period == "day":
        first, last = _period(dataset, key)
    else:
        first, last = (date.min, date.max) if key == ALL else _period(dataset, key)
        days = tuple(
            (parse_date(row["partition_key"]), row["lake_snapshot"])
            for row in connection.execute(
                statement("published_days"),
                {
                    "daily": DAILY_METRICS.name,
                    "input_version": partition["input_version"],
                    "first": first.isoformat(),
                    "last": last.isoformat(),
                },
            ).fetchall()
        )
        if key == ALL and days:
            first, last = days[0][0], days[-1][0]
    inputs = connection.execute(
        statement("explain_inputs"), {"first": first, "last": last, "facts": list(facts)}
    ).fetchall()
    restatements = connection.execute(
        statement("explain_restatements"),
        {
            "dataset": dataset.name,
            "partition_key": key,
            "event_id": cell.event_id,
            "currency": currency,
            "metric": metric.name,
            "scope": json.dumps(cell.scope or {}),
        },
    ).fetchall()
    version = {name: partition[name] for name in Version.__dataclass_fields__ if name != "state"}
    held_back = connection.execute(
        statement("explain_held_back"),
        {
            "dataset": dataset.name,
            "partition_key": key,
            "before": ["movements", *([DAILY_METRICS.name] if dataset.period != "day" else [])],
            "first": first.isoformat(),
            "last": last.isoformat(),
        },
    ).fetchall()
    return FoundCell(
        partition_key=key,
        first=first,
        last=last,
        organizer_id=rows[0]["organizer_id"] if rows else None,
        currency=currency,
        value=sum(row["value"] for row in rows),
        rows=len(rows),
        version=Version(
            **version,
            state=state(is_complete=partition["is_complete"], final_at=partition["final_at"]),
        ),
        compared_snapshot=partition["compared_snapshot"],
        days=days,
        inputs=tuple(
            Input(
                **{name: row[name] for name in Input.__dataclass_fields__ if name != "is_newer"},
                is_newer=row["lake_snapshot"] > partition["lake_snapshot"],
            )
            for row in inputs
        ),
        restatements=tuple(Restatement(**row) for row in restatements),
        held_back=tuple(held_back),
    )


def _cell_rows(
    connection: psycopg.Connection[dict[str, Any]],
    dataset: Dataset,
    metric: Stored,
    cell: Cell,
    key: str,
) -> list[dict[str, Any]]:
    where: list[sql.Composable] = [sql.SQL("event_id = %(event_id)s")]
    parameters: dict[str, Any] = {"event_id": cell.event_id, "key": key}
    if key != ALL:
        where.append(sql.SQL("{} = %(key)s").format(sql.Identifier(dataset.grain[0].name)))
    for name, value in (cell.scope or {}).items():
        where.append(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)))
        parameters[name] = value
    return connection.execute(
        sql.SQL("SELECT organizer_id, currency, {} AS value FROM {} WHERE {}").format(
            sql.Identifier(metric.name),
            sql.Identifier("reporting", dataset.name),
            sql.SQL(" AND ").join(where),
        ),
        parameters,
    ).fetchall()


def _currency(
    connection: psycopg.Connection[dict[str, Any]],
    dataset: Dataset,
    cell: Cell,
    rows: Sequence[dict[str, Any]],
    key: str,
) -> str:
    """The cell's currency; tells unknown events and ambiguous currencies from absent rows."""
    there: list[str] = sorted({row["currency"] for row in rows})
    if there:
        if cell.currency is None and len(there) == 1:
            return there[0]
        if cell.currency is not None and cell.currency in there:
            return cell.currency
        wanted = f"has no {cell.currency}" if cell.currency else "has several currencies"
        raise UnknownCellError(
            f"event {cell.event_id} {wanted} in {dataset.name} {key}; choose one of"
            f" {', '.join(there)}"
        )
    known = connection.execute(
        "SELECT DISTINCT currency FROM reporting.daily_metrics WHERE event_id = %s"
        " ORDER BY currency",
        (cell.event_id,),
    ).fetchall()
    if not known:
        raise UnknownCellError(_unknown_event(connection, dataset, cell, key))
    return cell.currency or str(known[0]["currency"])


def _unknown_event(
    connection: psycopg.Connection[dict[str, Any]], dataset: Dataset, cell: Cell, key: str
) -> str:
    where: sql.Composable = sql.SQL("true")
    if key != ALL:
        where = sql.SQL("{} = %(key)s").format(sql.Identifier(dataset.grain[0].name))
    events = connection.execute(
        sql.SQL("SELECT DISTINCT event_id FROM {} WHERE {} ORDER BY event_id").format(
            sql.Identifier("reporting", dataset.name), where
        ),
        {"key": key},
    ).fetchall()
    listed = ", ".join(str(row["event_id"]) for row in events[:_LISTED])
    more = f" and {len(events) - _LISTED:,} more" if len(events) > _LISTED else ""
    return (
        f"event {cell.event_id} is in no published day; {dataset.name} {key} has"
        f" {listed + more if events else 'no events'}"
    )


def _unpublished(connection: psycopg.Connection[dict[str, Any]], dataset: Dataset, key: str) -> str:
    row = connection.execute(
        "SELECT min(partition_key) AS first, max(partition_key) AS last FROM ops.partitions"
        " WHERE dataset = %s",
        (dataset.name,),
    ).fetchone()
    if row is None or row["first"] is None:
        return f"nothing of {dataset.name} is published yet"
    return (
        f"{dataset.name} {key} is not published; it is published from {row['first']} to"
        f" {row['last']}"
    )
