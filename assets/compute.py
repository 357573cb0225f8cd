"""Computing finished datasets: statements run in DuckDB, rows handed to publication.

Belongs here: what a computation reads, in one consistent snapshot, and how its result is cut into
partitions. Does not belong here: Dagster, or the statements (``assets/sql``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import duckdb
import polars as pl

from assets.statements import (
    MOVEMENTS,
    controls_sql,
    dataset_sql,
    movements_view,
    unresolved_sql,
)
from metrics.calendar import DayRange, day_bounds
from metrics.datasets import Dataset
from metrics.registry import BASE_MEASURES
from resources.lake import Lake, current_snapshot


@dataclass(frozen=True)
class Computed:
    """The rows of a dataset and the input they were computed from.

    Attributes:
        rows: sorted by the dataset's grain.
        lake_snapshot: DuckLake snapshot that was read.
    """

    rows: pl.DataFrame
    lake_snapshot: int


@dataclass(frozen=True)
class PublishedDay:
    """A day of ``daily_metrics`` as readers see it."""

    day: date
    publication_id: int
    watermark: datetime | None
    is_complete: bool


@dataclass(frozen=True)
class MovementControl:
    """What the ledger holds of one day, kind and currency.

    Attributes:
        sums: the sum of each base measure; money in minor units.
    """

    kind: str
    currency: str | None
    movements: int
    sums: dict[str, int]


@dataclass(frozen=True)
class Ledger:
    """What the ledger holds of a range of days.

    Attributes:
        controls: counts and sums by day.
        unresolved: movements whose event or ticket type is not in the catalogue, by day and kind.
        lake_snapshot: DuckLake snapshot that was read.
    """

    controls: dict[date, list[MovementControl]]
    unresolved: dict[str, int]
    lake_snapshot: int


class UnresolvedError(RuntimeError):
    """Movements name an event or ticket type that the source's catalogue does not have."""

    def __init__(self, unresolved: dict[str, int]) -> None:
        """Say which days and kinds."""
        named = ", ".join(f"{key} ({count})" for key, count in list(unresolved.items())[:10])
        super().__init__(
            "Movements name an event or ticket type that the source does not have: " + named
        )


def read_ledger(lake: Lake, days: DayRange) -> Ledger:
    """Count and sum the ledger by day, kind and currency."""
    with _ledger(lake) as connection:
        rows = connection.execute(
            controls_sql(), {"first": days.first, "last": days.last}
        ).fetchall()
        controls: dict[date, list[MovementControl]] = {}
        for day, kind, currency, count, *sums in rows:
            controls.setdefault(day, []).append(
                MovementControl(kind, currency, count, dict(zip(BASE_MEASURES, sums, strict=True)))
            )
        return Ledger(controls, _unresolved(connection, days), current_snapshot(connection))


def _unresolved(connection: duckdb.DuckDBPyConnection, days: DayRange) -> dict[str, int]:
    rows = connection.execute(unresolved_sql(), {"first": days.first, "last": days.last}).fetchall()
    return {f"{day} {kind}": count for day, kind, count in rows}


def compute_days(lake: Lake, dataset: Dataset, days: DayRange) -> Computed:
    """Compute a dataset of daily grain for a range of days, from the ledger.

    Raises:
        UnresolvedError: the ledger of these days cannot be trusted; also when its own check did
            not run, as when only this dataset is run again.
    """
    with _ledger(lake) as connection:
        if unresolved := _unresolved(connection, days):
            raise UnresolvedError(unresolved)
        _create_days(connection, days)
        return _compute(connection, dataset, days)


def compute_rollup(
    lake: Lake, warehouse_url: str, dataset: Dataset, days: DayRange
) -> tuple[Computed, list[PublishedDay]]:
    """Compute a rollup from the published days of a range, and buyers from the ledger.

    Returns:
        The rows, and the days they are the sum of.
    """
    with _ledger(lake, warehouse_url) as connection:
        published = [
            PublishedDay(date.fromisoformat(key), *state)
            for key, *state in connection.execute(
                _from_warehouse(
                    "SELECT partition_key, publication_id, source_watermark, is_complete"
                    " FROM ops.partitions WHERE dataset = 'daily_metrics'"
                    f" AND partition_key BETWEEN '{days.first}' AND '{days.last}'"
                    " ORDER BY partition_key"
                )
            ).fetchall()
        ]
        connection.execute(
            "CREATE TEMP TABLE daily_metrics AS "
            + _from_warehouse(
                "SELECT * FROM reporting.daily_metrics"
                f" WHERE business_date BETWEEN DATE '{days.first}' AND DATE '{days.last}'"
            )
        )
        return _compute(connection, dataset, days), published


@contextmanager
def _ledger(lake: Lake, warehouse_url: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session in one transaction, with the code's own ledger as ``movements``."""
    with lake.session() as connection:
        if warehouse_url is not None:
            quoted = warehouse_url.replace("'", "''")
            connection.execute(f"ATTACH '{quoted}' AS warehouse (TYPE postgres, READ_ONLY)")
        connection.execute("BEGIN")
        connection.execute(f"CREATE TEMP VIEW {MOVEMENTS} AS {movements_view()}")
        yield connection


def _compute(connection: duckdb.DuckDBPyConnection, dataset: Dataset, days: DayRange) -> Computed:
    snapshot = current_snapshot(connection)
    statement = dataset_sql(dataset)
    parameters = {"first": days.first, "last": days.last}
    used = {name: value for name, value in parameters.items() if f"${name}" in statement}
    return Computed(connection.execute(statement, used).pl(), snapshot)


def _create_days(connection: duckdb.DuckDBPyConnection, days: DayRange) -> None:
    connection.execute(
        "CREATE TEMP TABLE days (business_date DATE, starts_at TIMESTAMPTZ, ends_at TIMESTAMPTZ)"
    )
    values = ", ".join(
        f"('{day}', '{start.isoformat()}', '{end.isoformat()}')"
        for day in days.days
        for start, end in (day_bounds(days.time_zone, day),)
    )
    connection.execute(f"INSERT INTO days VALUES {values}")


def _from_warehouse(statement: str) -> str:
    escaped = statement.replace("'", "''")
    return f"FROM postgres_query('warehouse', '{escaped}')"
