"""Reconciliation: rows about to be published against the layers before them, to the minor unit.

Belongs here: the comparison of days with the source's own totals and of rollups with the published
days, and which hop a difference began at. Does not belong here: what follows from a difference
(``metrics.audits``, ``assets.publishing``), or the hop "source -> raw" while a day is extracted
(``resources.reconciliation``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb
import polars as pl

from assets.statements import statement
from metrics.audits import Difference
from metrics.calendar import DayRange
from metrics.datasets import DAILY_METRICS, Dataset
from metrics.registry import Distinct
from resources.lake import BUSINESS_DATE
from resources.reconciliation import raw_totals
from resources.source_contract import DAILY_FACTS

SOURCE_TO_RAW = "source -> raw"
RAW_TO_MOVEMENTS = "raw -> movements"
_COMPUTED = "computed"
_Sum = tuple[date, int | None, str | None, str]
"""Day, organizer, currency and measure."""


@dataclass(frozen=True)
class Reconciliation:
    """How rows compare with the layers before them.

    Attributes:
        cells_compared: sums compared, by partition.
        differences: sums that differ, each with the first hop that changed it.
        without_totals: days of which the lake does not have the source's totals.
    """

    cells_compared: Mapping[str, int]
    differences: Sequence[Difference] = field(default=())
    without_totals: Sequence[date] = field(default=())


def reconcile_days(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    rows: pl.DataFrame,
    days: DayRange,
    known: Sequence[date],
) -> Reconciliation:
    """Compare the sums of days with what plain SQL on the source said when they were extracted.

    Args:
        connection: a session over the ledger, in the transaction the rows were computed in.
        known: days of which every fact's totals of the source are in the lake.
    """
    measures = dataset.reconciled_measures
    connection.register(_COMPUTED, rows)
    found = connection.execute(
        statement("days_reconciled", measures=measures),
        {"first": days.first, "last": days.last, "measures": list(measures)},
    ).fetchall()
    connection.unregister(_COMPUTED)
    compared = dict.fromkeys((day.isoformat() for day in days.days), 0)
    sums: dict[_Sum, tuple[int, int]] = {}
    for day, cells, differing in found:
        if day not in known:
            continue
        compared[day.isoformat()] = cells
        for organizer, currency, measure, expected, value in map(_values, differing or ()):
            sums[day, organizer, currency, measure] = (expected, value)
    missing = sorted(set(days.days) - set(known))
    return Reconciliation(compared, _located(connection, dataset, days, sums), missing)


def reconcile_rollup(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, rows: pl.DataFrame, days: DayRange
) -> Reconciliation:
    """Compare the sums of periods with those Postgres makes of the published days.

    Args:
        connection: a session with the warehouse attached, in the transaction its days were read in.
    """
    metrics = [m.name for m in dataset.metrics if not isinstance(m, Distinct)]
    by_period = dataset.period != "all"
    of_days = statement(
        "published_days",
        period=f"date_trunc('{dataset.period}', business_date)::date" if by_period else "'all'",
        metrics=metrics,
        first=days.first,
        last=days.last,
    )
    connection.register(_COMPUTED, rows)
    found = connection.execute(
        statement(
            "rollup_reconciled",
            period=dataset.grain[0].name if by_period else "'all'",
            metrics=metrics,
            published_days="'" + of_days.replace("'", "''") + "'",
        )
    ).fetchall()
    connection.unregister(_COMPUTED)
    hop = f"{DAILY_METRICS.name} -> {dataset.name}"
    return Reconciliation(
        {str(period): cells for period, cells, _ in found},
        [
            Difference(
                str(period), hop, f"event {event}, {currency}", measure, int(expected), int(value)
            )
            for period, _, differing in found
            for event, currency, measure, expected, value in map(_values, differing or ())
        ],
    )


def _located(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    days: DayRange,
    sums: Mapping[_Sum, tuple[int, int]],
) -> list[Difference]:
    """Name the first hop at which each sum stopped being the source's."""
    if not sums:
        return []
    differing = sorted({day for day, *_ in sums})
    of_ledger = _ledger_totals(connection, dataset, differing)
    of_raw = _raw_totals(connection, differing)
    located = []
    for key, (expected, found) in sums.items():
        day, organizer, currency, measure = key
        layers = (
            (SOURCE_TO_RAW, of_raw.get(key, 0)),
            (RAW_TO_MOVEMENTS, of_ledger.get(key, 0)),
            (f"movements -> {dataset.name}", found),
        )
        hop, value = next((hop, value) for hop, value in layers if value != expected)
        where = f"{day}, organizer {organizer}, {currency}"
        located.append(Difference(day.isoformat(), hop, where, measure, expected, value))
    return located


def _ledger_totals(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, days: Sequence[date]
) -> dict[_Sum, int]:
    rows = connection.execute(
        statement("ledger_totals", measures=dataset.reconciled_measures), {"days": list(days)}
    ).fetchall()
    return {tuple(key): value for *key, value in rows}


def _raw_totals(connection: duckdb.DuckDBPyConnection, days: Sequence[date]) -> dict[_Sum, int]:
    """Totals of the raw tables, by the statements that check them while they are extracted."""
    connection.execute(
        "CREATE TEMP VIEW known_events AS"
        " SELECT event_id, organizer_id, currency FROM lake.raw_events"
    )
    connection.execute(
        "CREATE TEMP VIEW known_ticket_types AS"
        " SELECT ticket_type_id, kind FROM lake.raw_ticket_types"
    )
    listed = ", ".join(f"DATE '{day}'" for day in days)
    totals: dict[_Sum, int] = {}
    for fact in DAILY_FACTS:
        connection.execute(
            "CREATE OR REPLACE TEMP VIEW staged AS"
            f" FROM lake.{fact.table} WHERE {BUSINESS_DATE} IN ({listed})"
        )
        for row in raw_totals(connection, fact).iter_rows(named=True):
            key = (row[BUSINESS_DATE], row["organizer_id"], row["currency"], row["measure"])
            totals[key] = totals.get(key, 0) + row["value"]
    return totals


def _values(cell: Mapping[str, Any] | Sequence[Any]) -> tuple[Any, ...]:
    """The fields of a DuckDB struct, in order."""
    return tuple(cell.values() if isinstance(cell, Mapping) else cell)
