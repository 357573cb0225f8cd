"""Reading: the source's facts staged in the lake, all from one snapshot, by two readers.

Belongs here: the snapshot, the catalogue read in it, and staging a fact together with its totals
and its unusable rows. Does not belong here: judging them, or the commit (``resources.extraction``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

import duckdb
import polars as pl

from metrics.calendar import DayRange
from resources.duckdb_postgres import attach_postgres, quote
from resources.lake import Lake, Staged, table_columns
from resources.quarantine import (
    RULE,
    Threshold,
    broken_select,
    ruled_select,
    undatable_select,
    undatable_sql,
)
from resources.reconciliation import no_totals, raw_totals, source_totals
from resources.source import Source, extraction_sql, reconciliation_sql
from resources.source_contract import CATALOGUE, Fact
from resources.staging import buyer_key_macro, exact_sql, source_rows, staging_select
from warehouse.faults import FaultPoint, reached

_FIRST_READER, _SECOND_READER = "source", "source_beside"
_KNOWN = {
    "known_events": "SELECT event_id, organizer_id, currency FROM temp.raw_events",
    "known_ticket_types": "SELECT ticket_type_id, kind FROM temp.raw_ticket_types",
}


@dataclass(frozen=True)
class Snapshot:
    """The one snapshot of the source that everything is read in.

    Attributes:
        name: under which another connection may take it over.
        at: transaction time.
        numeric: by fact, the money columns that are ``numeric``.
        unusable: rows of the catalogue that cannot be used.
    """

    name: str
    at: datetime
    numeric: dict[str, frozenset[str]]
    unusable: pl.DataFrame


@dataclass(frozen=True)
class Read:
    """A fact as it was staged, and what both sides say of it."""

    staged: Staged
    unusable: pl.DataFrame
    at_source: pl.DataFrame
    in_raw: pl.DataFrame


def open_snapshot(
    connection: duckdb.DuckDBPyConnection, source: Source, numeric: dict[str, frozenset[str]]
) -> Snapshot:
    """Open the one snapshot of the source and read the catalogue in it."""
    _attach(connection, source, _FIRST_READER)
    connection.execute("BEGIN")
    opened = source_rows("SELECT now() AS now, pg_export_snapshot() AS snapshot", _FIRST_READER)
    row = connection.execute(f"FROM {opened}").fetchone()
    if row is None:
        raise RuntimeError("the source did not tell its time")
    at, name = row
    unusable = []
    for fact in CATALOGUE:
        of_fact = numeric[fact.name]
        rows = source_rows(exact_sql(fact, extraction_sql(fact), of_fact), _FIRST_READER)
        ruled = f"ruled_{fact.name}"
        connection.execute(f"CREATE TEMP TABLE {ruled} AS {ruled_select(fact, rows, at, of_fact)}")
        connection.execute(
            f"CREATE TEMP TABLE {fact.table} AS SELECT {', '.join(table_columns(fact))}"
            f" FROM {ruled} WHERE {RULE} IS NULL"
        )
        unusable.append(connection.execute(broken_select(fact, ruled, at, of_fact)).pl())
        connection.execute(f"DROP TABLE {ruled}")
    return Snapshot(name, at, numeric, pl.concat(unusable))


def close_snapshot(connection: duckdb.DuckDBPyConnection) -> None:
    """End the source's transaction; the catalogue stays in temporary tables."""
    connection.execute("COMMIT")
    connection.execute(f"DETACH {_FIRST_READER}")


def read_facts(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    snapshot: Snapshot,
    days: DayRange,
    facts: Sequence[Fact],
    token: str,
) -> dict[str, Read]:
    """Stage the facts, two at a time: a single reader keeps no more than one core busy.

    The second reader takes over the first one's snapshot and its catalogue.
    """
    waiting = deque(facts)
    done: dict[str, Read] = {}
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
            found = _read_fact(lake, source, reader, name, fact, days, snapshot, token)
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
                f" {quote(f'SET TRANSACTION SNAPSHOT {quote(snapshot.name)}')})"
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
    source: Source,
    reader: duckdb.DuckDBPyConnection,
    name: str,
    fact: Fact,
    days: DayRange,
    snapshot: Snapshot,
    token: str,
) -> Read:
    """Stage what can be used of one fact; ask the source and the staged file for its totals."""
    numeric = snapshot.numeric[fact.name]
    select = staging_select(fact, days, name, snapshot.at, numeric)
    staged = lake.stage(reader, fact.table, select, token)
    impossible = source_rows(undatable_sql(fact, days.time_zone, snapshot.at), name)
    unusable = reader.execute(undatable_select(fact, impossible, snapshot.at)).pl()
    keys: list[str] = []
    if staged.values.get(RULE):
        everything = f"read_parquet({quote(staged.path or '')})"
        broken = reader.execute(broken_select(fact, everything, snapshot.at, numeric)).pl()
        keys = broken["row_key"].unique().sort().to_list()
        unusable = pl.concat([broken, unusable], how="vertical_relaxed")
        usable = f"FROM {everything} WHERE {RULE} IS NULL"
        staged = lake.stage(reader, fact.table, usable, f"{token}-usable")
        if threshold(source).exceeded(broken.height, broken.height + staged.row_count):
            # The extraction will stop: totals that leave out most rows are not worth their time.
            return Read(staged, unusable, no_totals(), no_totals())
    rows = (
        f"read_parquet({quote(staged.path)})" if staged.path else f"lake.{fact.table} WHERE false"
    )
    reader.execute(f"CREATE OR REPLACE TEMP VIEW staged AS FROM {rows}")
    at_source = source_rows(reconciliation_sql(fact, days, keys), name)
    return Read(
        staged,
        unusable,
        source_totals(reader, at_source, fact, snapshot.at),
        raw_totals(reader, fact),
    )


def _attach(connection: duckdb.DuckDBPyConnection, source: Source, name: str) -> None:
    attach_postgres(connection, source.url, name)


def threshold(source: Source) -> Threshold:
    """How many unusable rows of a fact the source's settings bear."""
    return Threshold(source.quarantine_tolerance, source.quarantine_max_share)
