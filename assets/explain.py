"""The number passport: what a published value is made of, down to the movements.

Belongs here: explaining one cell of a finished dataset, without Dagster, so that the read API and
the command line serve the same answer. Does not belong here: finding the cell
(``warehouse.cells``), or how the answer is shown.

The movements are read from the lake as it was when the value was computed. Where that is no longer
kept, the answer says what was read instead, and by how much it differs, if it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Self

import duckdb
import polars as pl
import psycopg

from assets.ledger import ledger_session
from assets.statements import code_version, dataset_sql, explain_sql, movements_view
from metrics.datasets import Dataset
from metrics.registry import Distinct, Stored
from resources.lake import Lake, SnapshotExpiredError
from resources.source_contract import LEDGER_FACTS
from warehouse.cells import Cell, FoundCell, dataset_and_metric, find_cell, scope_columns
from warehouse.publish import connect

_KEPT_SESSIONS = 4


@dataclass(frozen=True)
class Explanation:
    """A published value and everything behind it.

    Attributes:
        cell: what was asked for.
        metric: the metric's declaration: unit, definition, formula.
        found: the value with its version, inputs and restatements.
        movements: one row for each movement with its ``contribution``, or for each distinct buyer.
        total: sum of all contributions.
        snapshots: lake snapshots the movements were read from; empty: the present one.
        notes: what the reader of the answer has to know; empty where all is as it should be.
    """

    cell: Cell
    metric: Stored
    found: FoundCell
    movements: pl.DataFrame
    total: int
    snapshots: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def difference(self) -> int:
        """Published value less the sum of the contributions; 0 where they explain it."""
        return self.found.value - self.total


def explain(lake: Lake, warehouse_url: str, cell: Cell) -> Explanation:
    """Explain one published value.

    Args:
        warehouse_url: of a role that may read ``reporting`` and ``ops``.

    Raises:
        UnknownCellError: the dataset, metric, event, currency or day does not exist.
    """
    return next(explain_all(lake, warehouse_url, [cell]))


def explain_all(lake: Lake, warehouse_url: str, cells: Iterable[Cell]) -> Iterator[Explanation]:
    """Explain several values, as ``explain`` does: each after the first takes a tenth of the time.

    The warehouse is read in one snapshot for all of them.
    """
    with connect(warehouse_url) as connection, _Sessions(lake) as sessions:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            for cell in cells:
                yield _explain(connection, sessions, cell)


def _explain(
    connection: psycopg.Connection[dict[str, Any]], sessions: _Sessions, cell: Cell
) -> Explanation:
    dataset, metric = dataset_and_metric(cell)
    found = find_cell(connection, dataset, metric, cell, LEDGER_FACTS)
    movements, snapshots, notes = _movements(sessions, dataset, metric, cell, found)
    total = sum(movements["contribution"].to_list())
    if found.rows == 0:
        notes.append("the period is published without a row for this event: the value is 0")
    if total != found.value:
        notes.append(_why(dataset, found, found.value - total, is_present=not snapshots))
    return Explanation(cell, metric, found, movements, total, snapshots, tuple(notes))


class _Sessions:
    """Sessions over the ledger as it was at some snapshots, the last few of them kept open."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._open: dict[int | None, tuple[ExitStack, duckdb.DuckDBPyConnection]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stack, _connection in self._open.values():
            stack.close()

    def at(self, snapshot: int | None) -> duckdb.DuckDBPyConnection:
        """The session of a snapshot; None is the present."""
        if snapshot not in self._open:
            if len(self._open) == _KEPT_SESSIONS:
                self._open.pop(next(iter(self._open)))[0].close()
            stack = ExitStack()
            connection = stack.enter_context(ledger_session(self._lake, snapshot=snapshot))
            self._open[snapshot] = stack, connection
        return self._open[snapshot][1]


_Read = tuple[int | None, date, date]
"""A lake snapshot (None: the present one) and the first and last day read from it."""


def _movements(
    sessions: _Sessions, dataset: Dataset, metric: Stored, cell: Cell, found: FoundCell
) -> tuple[pl.DataFrame, tuple[int, ...], list[str]]:
    """The movements, the snapshots they were read from, and what was out of the ordinary.

    A rollup sums published days, which may be older than the lake it saw: where its own snapshot
    does not explain it, each day is read from the snapshot of its own version.
    """
    ways: list[list[_Read]] = [
        [(snapshot, found.first, found.last)]
        for snapshot in dict.fromkeys((found.version.lake_snapshot, found.compared_snapshot))
    ]
    if found.days and not isinstance(metric, Distinct):
        ways.append(_day_by_day(found.days))
    best: tuple[pl.DataFrame, tuple[int, ...]] | None = None
    expired = ""
    for way in ways:
        try:
            movements = _read(sessions, dataset, metric, cell, found.currency, way)
        except SnapshotExpiredError as error:
            expired = expired or str(error)
            continue
        snapshots = tuple(snapshot for snapshot, _, _ in way if snapshot is not None)
        if sum(movements["contribution"].to_list()) == found.value:
            return movements, snapshots, []
        best = best or (movements, snapshots)
    if best is not None:
        return *best, []
    present: list[_Read] = [(None, found.first, found.last)]
    movements = _read(sessions, dataset, metric, cell, found.currency, present)
    return movements, (), [f"{expired}; the movements are those of the lake as it is now"]


def _day_by_day(days: Sequence[tuple[date, int]]) -> list[_Read]:
    """Days with the snapshots they were published from; neighbours of one snapshot together."""
    reads: list[_Read] = []
    for day, snapshot in days:
        if reads and reads[-1][0] == snapshot and reads[-1][2] == day - timedelta(days=1):
            reads[-1] = (snapshot, reads[-1][1], day)
        else:
            reads.append((snapshot, day, day))
    return reads


def _read(
    sessions: _Sessions,
    dataset: Dataset,
    metric: Stored,
    cell: Cell,
    currency: str,
    reads: Sequence[_Read],
) -> pl.DataFrame:
    scope = cell.scope or {}
    statement_text = explain_sql(
        metric, tuple((name, name in scope) for name in scope_columns(dataset))
    )
    given = {"event_id": cell.event_id, "currency": currency, **scope}
    frames = [
        sessions.at(snapshot).execute(statement_text, {"first": first, "last": last, **given}).pl()
        for snapshot, first, last in reads
    ]
    return pl.concat(frames)


def _why(dataset: Dataset, found: FoundCell, difference: int, *, is_present: bool) -> str:
    """Why the movements do not sum to the published value."""
    present = code_version(movements_view(), dataset_sql(dataset))
    text = f"the value is {difference:+d} from the sum of these movements: "
    if found.version.code_version != present:
        return (
            text + f"it was computed with definition {found.version.code_version}, the present one"
            f" is {present}; publish the period anew to have it explained"
        )
    if is_present:
        return text + "the lake has changed since it was computed, and its snapshot is gone"
    return (
        text + "it is not what the pipeline published; run the job `prove`, whose asset"
        " `reconciliation` names the partition and the column that were edited"
    )
