"""Fingerprint: whether the source still says of past days what it said when they were read.

Belongs here: asking the source for its totals anew and comparing them with those in the lake. It
finds what leaves no update time: deleted rows, and edits that did not touch it. Does not belong
here: the totals (``resources.reconciliation``), or changes that do leave one
(``resources.late_data``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from importlib.resources import files

import polars as pl

from metrics.calendar import DayRange
from resources.duckdb_postgres import attach_postgres
from resources.lake import Lake
from resources.reconciliation import complete, source_totals
from resources.source import Source, reconciliation_sql
from resources.source_contract import DAILY_FACTS
from resources.staging import source_rows

_READER = "source"
_UNRESOLVED = {
    "business_date": pl.Date,
    "fact": pl.String,
    "column_name": pl.String,
    "id": pl.Int64,
}


@dataclass(frozen=True)
class Cell:
    """A total that the source no longer gives as it did; money in minor units.

    Attributes:
        in_lake: as it was when the day was read; None where it never was.
    """

    business_date: date
    fact: str
    organizer_id: int | None
    currency: str | None
    measure: str
    at_source: int
    in_lake: int | None


@dataclass(frozen=True)
class Fingerprint:
    """The comparison of a range of days with the source.

    Attributes:
        compared_at: source clock after its snapshot was taken.
        cells_compared: totals compared.
        differences: the totals that differ, and the days that were never read.
        usable: by day and fact, rows in quarantine that can be used now.
    """

    compared_at: datetime
    cells_compared: int
    differences: tuple[Cell, ...]
    usable: Mapping[tuple[date, str], int]

    @property
    def by_day(self) -> dict[tuple[date, str], list[Cell]]:
        """The differences of each day and fact."""
        days: dict[tuple[date, str], list[Cell]] = {}
        for cell in self.differences:
            days.setdefault((cell.business_date, cell.fact), []).append(cell)
        return days


def take_fingerprint(
    lake: Lake,
    source: Source,
    days: DayRange,
    quarantined: Mapping[str, Sequence[str]],
    unresolved: Sequence[Mapping[str, object]] = (),
) -> Fingerprint:
    """Compare the totals of the days, all from one snapshot of the source.

    Args:
        quarantined: by fact, the keys of the rows that are not used.
        unresolved: of any day, rows in quarantine (business_date, fact, column_name, id) for what
            they refer to; the catalogue in the lake may have it by now.
    """
    with lake.session() as connection:
        attach_postgres(connection, source.url, _READER)
        connection.execute("BEGIN")
        clock = source_rows("SELECT now() AS began, clock_timestamp() AS after", _READER)
        row = connection.execute(f"FROM {clock}").fetchone()
        if row is None:
            raise RuntimeError("the source did not tell its time")
        began, compared_at = row
        totals = [
            source_totals(
                connection,
                source_rows(
                    reconciliation_sql(fact, days, quarantined.get(fact.name, ())), _READER
                ),
                fact,
                began,
            )
            for fact in DAILY_FACTS
        ]
        connection.register("source_now", complete(totals, DAILY_FACTS, days, began))
        bounds = {"first": days.first, "last": days.last}
        cells = connection.execute(
            _text("fingerprint"), {**bounds, "compared_at": compared_at}
        ).pl()
        never_read = connection.execute(_text("never_read"), bounds).fetchall()
        connection.register("unresolved", pl.DataFrame(unresolved, schema=_UNRESOLVED))
        usable = connection.execute(_text("references_found")).fetchall()
        connection.execute("COMMIT")
    differing = cells.filter(pl.col("at_source") != pl.col("in_lake")).sort(
        "business_date", "fact", "measure", "currency", "organizer_id"
    )
    return Fingerprint(
        compared_at=compared_at,
        cells_compared=cells.height,
        differences=(
            *(Cell(*cell) for cell in differing.rows()),
            *(Cell(day, fact, None, None, "rows", value, None) for day, fact, value in never_read),
        ),
        usable={(day, fact): rows for day, fact, rows in usable},
    )


def fingerprint_sql() -> str:
    """The statements of the comparison, for its code version."""
    return f"{_text('fingerprint')}\n{_text('never_read')}"


@cache
def _text(name: str) -> str:
    return (files("resources") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
