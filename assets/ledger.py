"""The ledger, read: a session over it, its control sums, and what in it is unresolved.

Belongs here: reading the ledger in one consistent snapshot. Does not belong here: Dagster
(``assets.movements``), its statement (``assets/sql/movements.sql``), or what is summed from it
(``assets.compute``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import duckdb

from assets.statements import MOVEMENTS, controls_sql, movements_view, unresolved_sql
from metrics.calendar import DayRange
from metrics.registry import BASE_MEASURES
from resources.lake import Lake, current_snapshot


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
    with ledger_session(lake) as connection:
        rows = connection.execute(
            controls_sql(), {"first": days.first, "last": days.last}
        ).fetchall()
        controls: dict[date, list[MovementControl]] = {}
        for day, kind, currency, count, *sums in rows:
            controls.setdefault(day, []).append(
                MovementControl(kind, currency, count, dict(zip(BASE_MEASURES, sums, strict=True)))
            )
        return Ledger(controls, unresolved(connection, days), current_snapshot(connection))


def unresolved(connection: duckdb.DuckDBPyConnection, days: DayRange) -> dict[str, int]:
    """Movements whose event or ticket type is not in the catalogue, by day and kind."""
    rows = connection.execute(unresolved_sql(), {"first": days.first, "last": days.last}).fetchall()
    return {f"{day} {kind}": count for day, kind, count in rows}


@contextmanager
def ledger_session(
    lake: Lake, warehouse_url: str | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session in one transaction, with the code's own ledger as ``movements``."""
    with lake.session() as connection:
        if warehouse_url is not None:
            quoted = warehouse_url.replace("'", "''")
            connection.execute(f"ATTACH '{quoted}' AS warehouse (TYPE postgres, READ_ONLY)")
        connection.execute("BEGIN")
        connection.execute(f"CREATE TEMP VIEW {MOVEMENTS} AS {movements_view()}")
        yield connection
