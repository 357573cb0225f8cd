"""Reconciliation of the first hop: what plain SQL says of the source, and what was staged of it.

Belongs here: the totals of both sides of "source -> raw", their comparison, and what the lake knows
of its days from them. Does not belong here: the statements (``resources/reconciliation_sql``,
``resources/raw_totals_sql``) or the hops behind raw (``assets``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from typing import Self

import duckdb
import polars as pl

from metrics.calendar import DayRange
from resources.lake import SOURCE_TOTALS
from resources.source_contract import Fact

HOP = "source -> raw"
ROWS = "rows"
_NAMED = 10
_TOTALS = {
    "business_date": pl.Date,
    "fact": pl.String,
    "organizer_id": pl.Int64,
    "currency": pl.String,
    "measure": pl.String,
    "value": pl.Int64,
}


@dataclass(frozen=True)
class Difference:
    """A total on which two sides of a hop differ; money in minor units."""

    business_date: date
    fact: str
    organizer_id: int | None
    currency: str | None
    measure: str
    at_source: int
    in_raw: int

    def __str__(self) -> str:
        """Where it is, and both values."""
        where = f"{self.fact} of {self.business_date}"
        if self.organizer_id is not None:
            where += f", organizer {self.organizer_id}, {self.currency}"
        return f"{where}: {self.measure} is {self.at_source} at the source, {self.in_raw} in raw"


class ReconciliationError(RuntimeError):
    """What was staged is not what the source has; ``differences`` holds all of them."""

    def __init__(self, differences: Sequence[Difference]) -> None:
        """Name the hop, the first differences, and how many there are."""
        self.differences = tuple(differences)
        named = "; ".join(map(str, differences[:_NAMED]))
        more = len(differences) - _NAMED
        super().__init__(
            f"{HOP} does not add up, so nothing was committed to the lake"
            f" ({len(differences)} differences): {named}{f'; and {more} more' if more > 0 else ''}."
            " Compare resources/source_sql with resources/reconciliation_sql of the fact: one of"
            " the two statements leaves rows out, or counts them on another day"
        )

    @classmethod
    def of(cls, rows: Iterable[tuple[date, str, int | None, str | None, str, int, int]]) -> Self:
        """From the rows of ``source_to_raw.sql``."""
        return cls([Difference(*row) for row in rows])


@cache
def _text(folder: str, name: str) -> str:
    return (files("resources") / folder / f"{name}.sql").read_text(encoding="utf-8").strip()


def source_totals(
    reader: duckdb.DuckDBPyConnection, rows: str, fact: Fact, snapshot_at: datetime
) -> pl.DataFrame:
    """What the source says of the fact's days.

    Args:
        rows: relation with what ``reconciliation_sql`` returns.
        snapshot_at: transaction time of the source snapshot it is read in.
    """
    frame = reader.execute(
        "SELECT business_date, CAST($fact AS VARCHAR) AS fact, organizer_id, currency, measure,"
        f" value FROM {rows} WHERE value <> 0",
        {"fact": fact.name},
    ).pl()
    return frame.with_columns(pl.lit(snapshot_at).alias("source_snapshot_at"))


def raw_totals(reader: duckdb.DuckDBPyConnection, fact: Fact) -> pl.DataFrame:
    """What the rows of the temporary view ``staged`` say of their days."""
    statement = _text("sql", "raw_totals").replace(":statement", _text("raw_totals_sql", fact.name))
    frame = reader.execute(statement).pl()
    return frame.with_columns(pl.lit(fact.name).alias("fact")).select(
        pl.col(name).cast(kind) for name, kind in _TOTALS.items()
    )


def no_totals() -> pl.DataFrame:
    """Totals of nothing."""
    return pl.DataFrame(schema=_TOTALS)


def held_back(unusable: pl.DataFrame, facts: Sequence[Fact]) -> pl.DataFrame:
    """The quarantine's rows by fact and day, to be counted beside those that were staged."""
    daily = pl.col("business_date").is_not_null() & pl.col("fact").is_in([f.name for f in facts])
    counted = unusable.filter(daily).group_by("business_date", "fact").len("value")
    return counted.with_columns(
        pl.lit(None).alias("organizer_id"),
        pl.lit(None).alias("currency"),
        pl.lit(ROWS).alias("measure"),
    ).select(pl.col(name).cast(kind) for name, kind in _TOTALS.items())


def complete(
    totals: Sequence[pl.DataFrame], facts: Sequence[Fact], days: DayRange, snapshot_at: datetime
) -> pl.DataFrame:
    """All source totals, with ``rows`` of every fact and day: zero where there is nothing."""
    found = pl.concat(totals)
    every = pl.DataFrame(
        [(day, fact.name) for fact in facts for day in days.days],
        schema={"business_date": pl.Date, "fact": pl.String},
        orient="row",
    )
    counted = found.filter(pl.col("measure") == ROWS)
    absent = every.join(counted, on=["business_date", "fact"], how="anti").with_columns(
        pl.lit(None, pl.Int64).alias("organizer_id"),
        pl.lit(None, pl.String).alias("currency"),
        pl.lit(ROWS).alias("measure"),
        pl.lit(0, pl.Int64).alias("value"),
        pl.lit(snapshot_at).alias("source_snapshot_at"),
    )
    return pl.concat([found, absent.select(found.columns)]).sort(
        "business_date", "fact", "measure", "currency", "organizer_id", nulls_last=True
    )


def check_hop(
    connection: duckdb.DuckDBPyConnection, source: pl.DataFrame, raw: pl.DataFrame
) -> None:
    """Compare the totals of the source with those of the staged rows and of the quarantine.

    Raises:
        ReconciliationError: they differ.
    """
    connection.register("source_totals", source)
    connection.register("raw_totals", raw)
    rows = connection.execute(_text("sql", "source_to_raw")).fetchall()
    connection.unregister("source_totals")
    connection.unregister("raw_totals")
    if rows:
        raise ReconciliationError.of(rows)


def watermarks(
    connection: duckdb.DuckDBPyConnection,
    facts: Sequence[str],
    days: DayRange,
    lake: str = "lake",
) -> dict[date, datetime]:
    """For each day that every one of the facts was extracted for, the oldest source snapshot.

    Read from the lake as the session sees it, so it never claims more than the rows read beside it.

    Args:
        lake: name under which the lake, or an earlier snapshot of it, is attached.
    """
    rows = connection.execute(
        _text("sql", "watermarks").replace("lake.", f"{lake}."),
        {"facts": list(facts), "first": days.first, "last": days.last},
    ).fetchall()
    return dict(rows)


def newest_snapshot_after(
    connection: duckdb.DuckDBPyConnection,
    snapshot_at: datetime,
    facts: Sequence[Fact] = (),
    days: DayRange | None = None,
) -> datetime | None:
    """The newest source snapshot in the lake that is later than one; None where there is none.

    Args:
        facts: with ``days``: look only at these facts' days.
    """
    where = "source_snapshot_at > $at"
    parameters: dict[str, object] = {"at": snapshot_at}
    if days is not None:
        where += " AND list_contains($facts, fact) AND business_date BETWEEN $first AND $last"
        parameters |= {"facts": [f.name for f in facts], "first": days.first, "last": days.last}
    row = connection.execute(
        f"SELECT max(source_snapshot_at) FROM lake.{SOURCE_TOTALS} WHERE {where}", parameters
    ).fetchone()
    return row[0] if row else None
