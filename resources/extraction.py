"""Extraction: reporting days of source facts into the lake, from one snapshot of the source.

Belongs here: what must hold before anything is committed (contract, quarantine, reconciliation),
the fence, and the one commit that brings rows and totals into the lake. Does not belong here:
orchestration (``assets.raw``), reading (``resources.reading``), or the totals
(``resources.reconciliation``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import duckdb
import polars as pl

from metrics.calendar import DayRange
from resources.lake import (
    BUSINESS_DATE,
    SOURCE_TOTALS,
    Lake,
    current_snapshot,
    replace_days,
    replace_table,
)
from resources.quarantine import (
    Unusable,
    check_shares,
    check_values,
)
from resources.reading import Read, close_snapshot, open_snapshot, read_facts, threshold
from resources.reconciliation import (
    ROWS,
    check_hop,
    complete,
    held_back,
    newest_snapshot_after,
)
from resources.source import (
    ContractError,
    Source,
    read_contract,
)
from resources.source_contract import CATALOGUE, FACTS, Fact
from warehouse.faults import FaultPoint, reached


class SupersededExtractionError(RuntimeError):
    """Another extraction of the same days read the source later and has committed already."""

    def __init__(self, ours: datetime, theirs: datetime) -> None:
        """Say which snapshots."""
        super().__init__(
            f"the lake already holds these days as the source had them at {theirs.isoformat()};"
            f" what was read at {ours.isoformat()} is older and was not committed. Reading anew"
        )


@dataclass(frozen=True)
class FactDay:
    """One reporting day of one fact, as it stands in the lake.

    Attributes:
        row_count: rows of that business date.
        quarantined_count: rows of that business date that could not be used.
        control_sums: per currency, the sum of each base measure, reconciled with the source; money
            in minor units.
    """

    row_count: int = 0
    quarantined_count: int = 0
    control_sums: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Extraction:
    """What one extraction brought into the lake.

    Attributes:
        lake_snapshot: the lake's snapshot that has the rows.
        source_snapshot_at: source transaction time; every commit before it is included.
        days: by fact name and business date; a day without rows is there with zero.
        catalogue_rows: rows of each catalogue table, by fact name.
        changed_catalogue: catalogue tables whose content is new.
        unusable: the rows in quarantine, the catalogue's included.
    """

    lake_snapshot: int
    source_snapshot_at: datetime
    days: dict[str, dict[date, FactDay]]
    catalogue_rows: dict[str, int]
    changed_catalogue: frozenset[str]
    unusable: Unusable

    def records(self, run_id: str) -> list[tuple[str, date, datetime, int, int, int, str]]:
        """Rows for ``warehouse.extractions.record_extraction``."""
        return [
            (
                name,
                day,
                self.source_snapshot_at,
                self.lake_snapshot,
                read.row_count,
                read.quarantined_count,
                run_id,
            )
            for name, by_day in self.days.items()
            for day, read in by_day.items()
        ]


def extract(
    lake: Lake,
    source: Source,
    days: DayRange,
    facts: Sequence[Fact],
    token: str,
) -> Extraction:
    """Replace the reporting days of the facts in the lake, and the catalogue, in one commit.

    Args:
        facts: the daily facts to read; the catalogue is always read with them.
        token: unique to the attempt; names its files.

    Raises:
        ContractError: the source's columns are not what the contract says; nothing was read.
        UnknownValueError: a column with a closed domain holds another value.
        QuarantineError: too many rows cannot be used.
        ReconciliationError: what was staged is not what the source says it has.
        SupersededExtractionError: a later extraction of these days has committed meanwhile.
    """
    numeric = _keep_contract(source, days, [*CATALOGUE, *facts])
    with lake.session() as connection:
        snapshot = open_snapshot(connection, source, numeric)
        read = read_facts(lake, connection, source, snapshot, days, facts, token)
        close_snapshot(connection)
        unusable = Unusable(
            pl.concat([snapshot.unusable, *(read[fact.name].unusable for fact in facts)]),
            tuple(fact.name for fact in (*CATALOGUE, *facts)),
            days,
            snapshot.at,
        )
        _check_quarantine(connection, source, unusable, read)
        totals = complete([read[f.name].at_source for f in facts], facts, days, snapshot.at)
        in_raw = pl.concat([read[fact.name].in_raw for fact in facts])
        check_hop(connection, totals, pl.concat([in_raw, held_back(unusable.rows, facts)]))
        connection.register("totals", totals)
        totals_file = lake.stage(connection, SOURCE_TOTALS, "FROM totals", token)
        reached(FaultPoint.STAGED)
        with lake.commit(connection):
            if newer := newest_snapshot_after(connection, snapshot.at, facts, days):
                raise SupersededExtractionError(snapshot.at, newer)
            for fact in facts:
                replace_days(connection, fact.table, days, read[fact.name].staged.path)
            replace_days(connection, SOURCE_TOTALS, days, totals_file.path, facts=facts)
            changed = _replace_catalogue(connection, snapshot.at)
        reached(FaultPoint.LAKE_COMMITTED)
        return Extraction(
            lake_snapshot=current_snapshot(connection),
            source_snapshot_at=snapshot.at,
            days=_measure(connection, facts, days, in_raw, unusable),
            catalogue_rows=_catalogue_rows(connection),
            changed_catalogue=changed,
            unusable=unusable,
        )


def extract_catalogue(lake: Lake, source: Source) -> Extraction:
    """Replace the catalogue in the lake, where it changed.

    Raises:
        ContractError, UnknownValueError, QuarantineError: as ``extract``.
    """
    numeric = _keep_contract(source, None, CATALOGUE)
    with lake.session() as connection:
        snapshot = open_snapshot(connection, source, numeric)
        close_snapshot(connection)
        names = tuple(fact.name for fact in CATALOGUE)
        unusable = Unusable(snapshot.unusable, names, None, snapshot.at)
        _check_quarantine(connection, source, unusable, {})
        with lake.commit(connection):
            changed = _replace_catalogue(connection, snapshot.at)
        return Extraction(
            lake_snapshot=current_snapshot(connection),
            source_snapshot_at=snapshot.at,
            days={},
            catalogue_rows=_catalogue_rows(connection),
            changed_catalogue=changed,
            unusable=unusable,
        )


def _keep_contract(
    source: Source, days: DayRange | None, facts: Sequence[Fact]
) -> dict[str, frozenset[str]]:
    contract = read_contract(source.url, days, facts)
    if contract.problems:
        raise ContractError(contract.problems)
    return contract.numeric


def _check_quarantine(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    unusable: Unusable,
    read: dict[str, Read],
) -> None:
    """Stop for values the contract does not have, and for too many unusable rows."""
    if unusable.rows.is_empty():
        return
    check_values(unusable.rows)
    used = {(name, True): count for name, count in _catalogue_rows(connection).items()}
    lost: dict[str, int] = {}
    for name, fact in read.items():
        used[name, True] = fact.staged.row_count
        used[name, False] = fact.staged.row_count
        if unusable.days is not None and (name, None) in unusable.counts():
            of_days = f"BETWEEN DATE '{unusable.days.first}' AND DATE '{unusable.days.last}'"
            rows = f"FROM lake.{FACTS[name].table} WHERE {BUSINESS_DATE}"
            used[name, False] += _scalar(connection, f"SELECT count(*) {rows} NOT {of_days}")
            connection.register("undatable", unusable.of_no_day(name))
            lost[name] = _scalar(
                connection,
                f"SELECT count(DISTINCT {FACTS[name].row_key}) {rows} {of_days}"
                f" AND {FACTS[name].row_key} IN (SELECT row_key FROM undatable)",
            )
            connection.unregister("undatable")
    check_shares(unusable, threshold(source), used, lost)


def _replace_catalogue(
    connection: duckdb.DuckDBPyConnection, snapshot_at: datetime
) -> frozenset[str]:
    """Replace what changed; a catalogue that was read later is left as it is."""
    if newest_snapshot_after(connection, snapshot_at) is not None:
        return frozenset()
    return frozenset(
        fact.table
        for fact in CATALOGUE
        if replace_table(connection, fact.table, f"temp.{fact.table}")
    )


def _catalogue_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    return {
        fact.name: _scalar(connection, f"SELECT count(*) FROM temp.{fact.table}")
        for fact in CATALOGUE
    }


def _measure(
    connection: duckdb.DuckDBPyConnection,
    facts: Sequence[Fact],
    days: DayRange,
    in_raw: pl.DataFrame,
    unusable: Unusable,
) -> dict[str, dict[date, FactDay]]:
    """Rows and control sums of every fact and day; summed in DuckDB, which cannot overflow."""
    connection.register("in_raw", in_raw)
    rows = connection.execute(
        "SELECT fact, business_date, currency, measure, CAST(sum(value) AS BIGINT) FROM in_raw"
        f" WHERE currency IS NOT NULL OR measure = '{ROWS}' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    counts: dict[tuple[str, date], int] = {}
    sums: dict[tuple[str, date], dict[str, dict[str, int]]] = {}
    for fact, day, currency, measure, value in rows:
        if currency is None:
            counts[fact, day] = value
        else:
            sums.setdefault((fact, day), {}).setdefault(currency, {})[measure] = value
    quarantined = unusable.counts()
    return {
        fact.name: {
            day: FactDay(
                counts.get((fact.name, day), 0),
                quarantined.get((fact.name, day), 0),
                sums.get((fact.name, day), {}),
            )
            for day in days.days
        }
        for fact in facts
    }


def _scalar(connection: duckdb.DuckDBPyConnection, statement: str) -> int:
    row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0
