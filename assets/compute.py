"""Computing finished datasets: statements run in DuckDB, rows handed to publication.

Belongs here: what a computation reads, in one consistent snapshot, and how its result is cut into
partitions. Does not belong here: Dagster, or the statements (``assets/sql``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb
import polars as pl

from assets.ledger import ledger_session
from assets.reconciliation import Reconciliation, reconcile_days, reconcile_rollup
from assets.statements import dataset_sql
from metrics.audits import Catalogue
from metrics.calendar import DayRange, day_bounds
from metrics.datasets import Dataset
from resources.lake import Lake, current_snapshot
from resources.reconciliation import watermarks
from resources.source_contract import LEDGER_FACTS


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
class Audited(Computed):
    """Rows with what their audit compares them with, read in the same snapshot.

    Attributes:
        catalogue: what the rows may refer to.
        reconciliation: how their sums compare with the layer before.
    """

    catalogue: Catalogue
    reconciliation: Reconciliation


@dataclass(frozen=True)
class ComputedDays(Audited):
    """The rows of days.

    Attributes:
        watermarks: by day, the oldest source snapshot of its facts; none where one is missing.
    """

    watermarks: Mapping[date, datetime]


@dataclass(frozen=True)
class PublishedDay:
    """A day of ``daily_metrics`` as readers see it."""

    day: date
    publication_id: int
    watermark: datetime | None
    is_complete: bool


@dataclass(frozen=True)
class ComputedRollup(Audited):
    """The rows of a rollup.

    Attributes:
        days: the published days they are the sum of.
    """

    days: Sequence[PublishedDay]


def compute_days(lake: Lake, dataset: Dataset, days: DayRange) -> ComputedDays:
    """Compute a dataset of daily grain for a range of days, from the ledger."""
    with ledger_session(lake) as connection:
        create_days(connection, days)
        computed = run_statement(connection, dataset, days)
        extracted = watermarks(connection, LEDGER_FACTS, days)
        return ComputedDays(
            computed.rows,
            computed.lake_snapshot,
            _catalogue(connection),
            reconcile_days(connection, dataset, computed.rows, days, list(extracted)),
            extracted,
        )


def compute_rollup(
    lake: Lake, warehouse_url: str, dataset: Dataset, days: DayRange
) -> ComputedRollup:
    """Compute a rollup from the published days of a range, and buyers from the ledger."""
    with ledger_session(lake, warehouse_url) as connection:
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
        computed = run_statement(connection, dataset, days)
        return ComputedRollup(
            computed.rows,
            computed.lake_snapshot,
            _catalogue(connection),
            reconcile_rollup(connection, dataset, computed.rows, days),
            published,
        )


def run_statement(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, days: DayRange
) -> Computed:
    """Run a dataset's statement in a session that has everything it reads."""
    snapshot = current_snapshot(connection)
    statement = dataset_sql(dataset)
    parameters = {"first": days.first, "last": days.last}
    used = {name: value for name, value in parameters.items() if f"${name}" in statement}
    return Computed(connection.execute(statement, used).pl(), snapshot)


def _catalogue(connection: duckdb.DuckDBPyConnection) -> Catalogue:
    return Catalogue(
        connection.execute("SELECT event_id, organizer_id, currency FROM lake.raw_events").pl(),
        connection.execute("SELECT ticket_type_id, event_id FROM lake.raw_ticket_types").pl(),
    )


def create_days(connection: duckdb.DuckDBPyConnection, days: DayRange) -> None:
    """Create ``days``: the reporting days with their first instant and the one after the last."""
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
