"""Extraction: reporting days of source facts into the lake, from one snapshot of the source.

Belongs here: reading the source's statements through DuckDB, reconciling what was staged with what
the source says, and the one commit that brings both into the lake. Does not belong here:
orchestration (``assets.raw``), the rows' statement (``resources.staging``), or the totals
(``resources.reconciliation``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from threading import Lock

import duckdb
import polars as pl

from metrics.calendar import DayRange
from resources.lake import (
    SOURCE_TOTALS,
    Lake,
    Staged,
    current_snapshot,
    replace_days,
    replace_table,
    table_columns,
)
from resources.reconciliation import (
    ROWS,
    check_hop,
    complete,
    newest_snapshot_after,
    raw_totals,
    reconciliation_sql,
    source_totals,
)
from resources.source import Source, extraction_sql
from resources.source_contract import CATALOGUE, Fact
from resources.staging import buyer_key_macro, quote, source_rows, staging_select
from warehouse.faults import FaultPoint, reached

_FIRST_READER, _SECOND_READER = "source", "source_beside"
_KNOWN = {
    "known_events": "SELECT event_id, organizer_id, currency FROM temp.raw_events",
    "known_ticket_types": "SELECT ticket_type_id, kind FROM temp.raw_ticket_types",
}


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
        control_sums: per currency, the sum of each base measure, reconciled with the source; money
            in minor units.
    """

    row_count: int = 0
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
    """

    lake_snapshot: int
    source_snapshot_at: datetime
    days: dict[str, dict[date, FactDay]]
    catalogue_rows: dict[str, int]
    changed_catalogue: frozenset[str]

    def records(self, run_id: str) -> list[tuple[str, date, datetime, int, int, str]]:
        """Rows for ``warehouse.extractions.record_extraction``."""
        return [
            (name, day, self.source_snapshot_at, self.lake_snapshot, read.row_count, run_id)
            for name, by_day in self.days.items()
            for day, read in by_day.items()
        ]


@dataclass(frozen=True)
class _Read:
    """A fact as it was staged, and what both sides say of it."""

    staged: Staged
    at_source: pl.DataFrame
    in_raw: pl.DataFrame


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
        ReconciliationError: what was staged is not what the source says it has.
        SupersededExtractionError: a later extraction of these days has committed meanwhile.
    """
    with lake.session() as connection:
        snapshot_at, snapshot = _begin(connection, source)
        read = _read_facts(lake, connection, source, snapshot, snapshot_at, days, facts, token)
        _end(connection)
        totals = complete([read[f.name].at_source for f in facts], facts, days, snapshot_at)
        in_raw = pl.concat([read[fact.name].in_raw for fact in facts])
        check_hop(connection, totals, in_raw)
        connection.register("totals", totals)
        totals_file = lake.stage(connection, SOURCE_TOTALS, "FROM totals", token)
        reached(FaultPoint.STAGED)
        with lake.commit(connection):
            if newer := newest_snapshot_after(connection, snapshot_at, facts, days):
                raise SupersededExtractionError(snapshot_at, newer)
            for fact in facts:
                replace_days(connection, fact.table, days, read[fact.name].staged.path)
            replace_days(connection, SOURCE_TOTALS, days, totals_file.path, facts=facts)
            changed = _replace_catalogue(connection, snapshot_at)
        reached(FaultPoint.LAKE_COMMITTED)
        return Extraction(
            lake_snapshot=current_snapshot(connection),
            source_snapshot_at=snapshot_at,
            days=_measure(connection, facts, days, in_raw),
            catalogue_rows=_catalogue_rows(connection),
            changed_catalogue=changed,
        )


def extract_catalogue(lake: Lake, source: Source) -> Extraction:
    """Replace the catalogue in the lake, where it changed."""
    with lake.session() as connection:
        snapshot_at, _ = _begin(connection, source)
        _end(connection)
        with lake.commit(connection):
            changed = _replace_catalogue(connection, snapshot_at)
        return Extraction(
            lake_snapshot=current_snapshot(connection),
            source_snapshot_at=snapshot_at,
            days={},
            catalogue_rows=_catalogue_rows(connection),
            changed_catalogue=changed,
        )


def _read_facts(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    snapshot: str,
    snapshot_at: datetime,
    days: DayRange,
    facts: Sequence[Fact],
    token: str,
) -> dict[str, _Read]:
    """Stage the facts, two at a time: a single reader keeps no more than one core busy.

    The second reader takes over the first one's snapshot and its catalogue.
    """
    waiting = deque(facts)
    done: dict[str, _Read] = {}
    counting = Lock()

    def read(reader: duckdb.DuckDBPyConnection, name: str, take: Callable[[], Fact]) -> None:
        for view, select in _KNOWN.items():
            reader.execute(f"CREATE TEMP VIEW {view} AS {select}")
        reader.execute(buyer_key_macro(source.buyer_key_secret))
        while True:
            try:
                fact = take()
            except IndexError:  # none is waiting any more
                return
            found = _read_fact(lake, reader, name, fact, days, snapshot_at, token)
            with counting:
                done[fact.name] = found
                if len(done) == (len(facts) + 1) // 2:
                    reached(FaultPoint.HALF_EXTRACTED)

    catalogue = {
        fact.table: connection.execute(f"FROM temp.{fact.table}").pl() for fact in CATALOGUE
    }

    def read_beside() -> None:
        with connection.cursor() as reader:
            _attach(reader, source, _SECOND_READER)
            reader.execute("BEGIN")
            reader.execute(
                f"CALL postgres_execute('{_SECOND_READER}',"
                f" {quote(f'SET TRANSACTION SNAPSHOT {quote(snapshot)}')})"
            )
            for table, frame in catalogue.items():
                reader.register(table, frame)
            read(reader, _SECOND_READER, waiting.pop)
            reader.execute("COMMIT")
            reader.execute(f"DETACH {_SECOND_READER}")

    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(read_beside) if len(waiting) > 1 else None
        try:
            read(connection, _FIRST_READER, waiting.popleft)
        finally:
            waiting.clear()
        if beside is not None:
            beside.result()
    return done


def _read_fact(
    lake: Lake,
    reader: duckdb.DuckDBPyConnection,
    name: str,
    fact: Fact,
    days: DayRange,
    snapshot_at: datetime,
    token: str,
) -> _Read:
    """Stage one fact, and ask the source and the staged file for its totals."""
    staged = lake.stage(reader, fact.table, staging_select(fact, days, name), token)
    rows = (
        f"read_parquet({quote(staged.path)})" if staged.path else f"lake.{fact.table} WHERE false"
    )
    reader.execute(f"CREATE OR REPLACE TEMP VIEW staged AS FROM {rows}")
    return _Read(
        staged,
        source_totals(reader, source_rows(reconciliation_sql(fact, days), name), fact, snapshot_at),
        raw_totals(reader, fact),
    )


def _attach(connection: duckdb.DuckDBPyConnection, source: Source, name: str) -> None:
    connection.execute(f"ATTACH {quote(source.url)} AS {name} (TYPE postgres, READ_ONLY)")


def _begin(connection: duckdb.DuckDBPyConnection, source: Source) -> tuple[datetime, str]:
    """Open the one snapshot of the source and read the catalogue in it.

    Returns:
        The source's transaction time, and the name under which others may take the snapshot over.
    """
    _attach(connection, source, _FIRST_READER)
    connection.execute("BEGIN")
    opened = source_rows("SELECT now() AS now, pg_export_snapshot() AS snapshot", _FIRST_READER)
    row = connection.execute(f"FROM {opened}").fetchone()
    if row is None:
        raise RuntimeError("the source did not tell its time")
    for fact in CATALOGUE:
        columns = ", ".join(table_columns(fact))
        rows = source_rows(extraction_sql(fact), _FIRST_READER)
        connection.execute(f"CREATE TEMP TABLE {fact.table} AS SELECT {columns} FROM {rows}")
    return row[0], row[1]


def _end(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("COMMIT")
    connection.execute(f"DETACH {_FIRST_READER}")


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
    return {
        fact.name: {
            day: FactDay(counts.get((fact.name, day), 0), sums.get((fact.name, day), {}))
            for day in days.days
        }
        for fact in facts
    }


def _scalar(connection: duckdb.DuckDBPyConnection, statement: str) -> int:
    row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0
