"""The ledger, read: a session over it, its control sums, and how they compare with the source's.

Belongs here: reading the ledger in one consistent snapshot of the lake, the present one or an
earlier one. Does not belong here: Dagster (``assets.movements``), its statement
(``assets/sql/movements.sql``), or what is summed from it (``assets.compute``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import duckdb

from assets.statements import (
    MOVEMENTS,
    controls_sql,
    movements_view,
    source_differences_sql,
)
from metrics.audits import Difference
from metrics.calendar import DayRange
from metrics.registry import BASE_MEASURES
from resources.duckdb_postgres import attach_postgres
from resources.lake import Lake, current_snapshot
from resources.reconciliation import watermarks
from resources.source_contract import LEDGER_FACTS
from warehouse.periods import Lateness

HOP = "raw -> movements"


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
        lateness: how late movements were recorded, by day and kind.
        unresolved: movements whose event or ticket type is not in the catalogue, by day and kind.
        cells_compared: sums compared with the source, by day.
        differences: sums that are not what the source says.
        without_totals: days of which the lake does not have the source's totals.
        lake_snapshot: DuckLake snapshot that was read.
    """

    controls: dict[date, list[MovementControl]]
    lateness: list[Lateness]
    unresolved: dict[str, int]
    cells_compared: dict[date, int]
    differences: list[Difference]
    without_totals: list[date]
    lake_snapshot: int


def read_ledger(lake: Lake, days: DayRange) -> Ledger:
    """Count and sum the ledger in one scan, and compare it with the source's own totals."""
    with ledger_session(lake) as connection:
        connection.execute(
            f"CREATE TEMP TABLE controls AS {controls_sql()}",
            {"first": days.first, "last": days.last},
        )
        compared, differences = _compare(connection, days)
        known = watermarks(connection, LEDGER_FACTS, days)
        return Ledger(
            controls=_controls(connection),
            lateness=_lateness(connection),
            unresolved=_unresolved(connection),
            cells_compared=compared,
            differences=differences,
            without_totals=[day for day in days.days if day not in known],
            lake_snapshot=current_snapshot(connection),
        )


@contextmanager
def ledger_session(
    lake: Lake, warehouse_url: str | None = None, snapshot: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session in one transaction, with the code's own ledger as ``movements``.

    Args:
        warehouse_url: attached as ``warehouse``, if given.
        snapshot: read the lake as it was at this snapshot instead of as it is.

    Raises:
        SnapshotExpiredError: the snapshot is older than the lake's retention.
    """
    with lake.session() as connection:
        if snapshot is not None:
            connection.execute("DETACH lake")
            lake.attach_snapshot(connection, snapshot, "lake")
        if warehouse_url is not None:
            attach_postgres(connection, warehouse_url, "warehouse")
        connection.execute("BEGIN")
        connection.execute(f"CREATE TEMP VIEW {MOVEMENTS} AS {movements_view()}")
        yield connection


def _controls(connection: duckdb.DuckDBPyConnection) -> dict[date, list[MovementControl]]:
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT)" for name in BASE_MEASURES)
    rows = connection.execute(
        "SELECT business_date, kind, currency, CAST(sum(movements) AS BIGINT),"
        f" {sums} FROM controls GROUP BY ALL ORDER BY business_date, kind, currency"
    ).fetchall()
    controls: dict[date, list[MovementControl]] = {}
    for day, kind, currency, count, *values in rows:
        controls.setdefault(day, []).append(
            MovementControl(kind, currency, count, dict(zip(BASE_MEASURES, values, strict=True)))
        )
    return controls


def _unresolved(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    rows = connection.execute(
        "SELECT business_date, kind, CAST(sum(unresolved) AS BIGINT) FROM controls"
        " WHERE unresolved > 0 GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return {f"{day} {kind}": count for day, kind, count in rows}


def _lateness(connection: duckdb.DuckDBPyConnection) -> list[Lateness]:
    rows = connection.execute(
        "SELECT business_date, kind, within_seconds, CAST(sum(movements) AS BIGINT) FROM controls"
        " WHERE within_seconds IS NOT NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [Lateness(*row) for row in rows]


def _compare(
    connection: duckdb.DuckDBPyConnection, days: DayRange
) -> tuple[dict[date, int], list[Difference]]:
    connection.execute(
        f"CREATE TEMP TABLE compared AS {source_differences_sql()}",
        {"first": days.first, "last": days.last},
    )
    counted = connection.execute(
        "SELECT business_date, count(*) FROM compared GROUP BY ALL"
    ).fetchall()
    different = connection.execute(
        "FROM compared WHERE source_value <> ledger_value"
        " ORDER BY business_date, organizer_id, currency, measure"
    ).fetchall()
    return dict(counted), [
        Difference(
            day.isoformat(),
            HOP,
            f"{day}, organizer {organizer}, {currency}",
            measure,
            int(source),
            int(ledger),
        )
        for day, organizer, currency, measure, source, ledger in different
    ]
