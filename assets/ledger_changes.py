"""The ledger beside what it was: the movements that explain why a published day changed.

Belongs here: comparing a day of the ledger between two lake snapshots. Does not belong here: what
follows from it (``warehouse.restatements``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from typing import Any

import duckdb

from assets.statements import movements_view, statement
from metrics.calendar import DayRange, parse_date
from metrics.datasets import Dataset
from metrics.registry import Distinct
from resources.lake import Lake, oldest_snapshot
from resources.reconciliation import watermarks
from resources.source_contract import LEDGER_FACTS
from warehouse.restatements import Behind, Cell, ChangedMovement, LedgerChanges, Version

_CELL = ("organizer_id", "event_id", "currency")
_FETCHED = 10_000
_MOST_AHEAD = 16
_THEN, _NOW = "then", "now"


@contextmanager
def ledger_history(lake: Lake, days: DayRange) -> Iterator[LakeHistory]:
    """The ledger's history for one step: the lake is opened only if something is asked.

    Args:
        days: the step's, asked for in their order if at all.
    """
    with ExitStack() as stack:
        yield LakeHistory(lake, days, stack)


class LakeHistory:
    """Compares days of the ledger between lake snapshots, in one session of its own.

    Nearly all of a comparison's time is the same for one day and for many. So while one day after
    the other is asked for, more and more of those that follow are compared with it.
    """

    def __init__(self, lake: Lake, days: DayRange, stack: ExitStack) -> None:
        """Open nothing yet."""
        self._lake = lake
        self._days = days
        self._stack = stack
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._attached: dict[str, int] = {}
        self._compared: tuple[str, tuple[int | None, int]] | None = None
        self._until = date.min
        self._ahead = 1

    def changes(
        self,
        dataset: Dataset,
        partition_key: str,
        versions: tuple[Version, Version],
        events: Collection[int],
    ) -> LedgerChanges | None:
        """See ``warehouse.restatements.LedgerHistory``."""
        if self._connection is None:
            self._connection = self._stack.enter_context(self._lake.session())
        connection = self._connection
        old, new = versions
        day = parse_date(partition_key)
        snapshots = (self._attach_then(connection, old, day), new.lake_snapshot)
        if snapshots[0] is None:
            return None
        self._attach(connection, _NOW, new.lake_snapshot)
        scope = [column.name for column in dataset.scope]
        distinct = [metric for metric in dataset.metrics if isinstance(metric, Distinct)]
        values = [*dataset.base_measures, *(metric.name for metric in distinct)]
        cell = [*_CELL, *scope]
        if self._compared != (dataset.name, snapshots) or day > self._until:
            changed = statement(
                "movement_changes",
                cell=cell,
                scope=scope,
                distinct=distinct,
                measures=dataset.base_measures,
                values=values,
            )
            self._compare(connection, (dataset.name, snapshots), changed, day)
        chosen = {"day": day, "events": list(events)}
        behind: dict[tuple[Cell, str], Behind] = {}
        found = connection.execute(statement("movements_behind", cell=cell, values=values), chosen)
        for organizer, event, currency, *rest in found.fetchall():
            *of_scope, measure, delta, removed, was_changed, refunds, others = rest
            behind[(organizer, event, currency, tuple(of_scope)), measure] = Behind(
                delta, removed, was_changed, refunds, others
            )
        return LedgerChanges(behind, _movements(connection, cell, dataset.base_measures, chosen))

    def _compare(
        self,
        connection: duckdb.DuckDBPyConnection,
        what: tuple[str, tuple[int | None, int]],
        changed: str,
        first: date,
    ) -> None:
        self._ahead = min(4 * self._ahead, _MOST_AHEAD) if self._compared == what else 1
        last = max(first, min(first + timedelta(days=self._ahead - 1), self._days.last))
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE changes AS {changed}", {"first": first, "last": last}
        )
        self._compared, self._until = what, last

    def _attach_then(
        self, connection: duckdb.DuckDBPyConnection, old: Version, day: date
    ) -> int | None:
        """Attach what the older version was computed from.

        A day that nobody read again since is in every later snapshot as it was: where the
        version's own has expired, the oldest one left may still hold the same reading of the day.
        """
        snapshot = max(old.lake_snapshot, oldest_snapshot(connection))
        self._attach(connection, _THEN, snapshot)
        if snapshot != old.lake_snapshot:
            of_day = DayRange(self._days.time_zone, day, day)
            reading = watermarks(connection, LEDGER_FACTS, of_day, lake=f"lake_{_THEN}").get(day)
            if reading is None or reading != old.source_watermark:
                return None
        return snapshot

    def _attach(self, connection: duckdb.DuckDBPyConnection, state: str, snapshot: int) -> None:
        if self._attached.get(state) == snapshot:
            return
        if self._attached.pop(state, None) is not None:
            connection.execute(f"DETACH lake_{state}")
        self._lake.attach_snapshot(connection, snapshot, f"lake_{state}")
        self._attached[state] = snapshot
        view = movements_view(lake=f"lake_{state}")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW movements_{state} AS {view}")


def _movements(
    connection: duckdb.DuckDBPyConnection,
    cell: list[str],
    measures: tuple[str, ...],
    chosen: Mapping[str, Any],
) -> Iterator[ChangedMovement]:
    described = ("movement_id", "kind", "change", "effective_at", "recorded_at")
    columns = ", ".join((*described, *cell, *measures))
    found = connection.execute(
        f"SELECT {columns} FROM changes WHERE business_date = $day"
        " AND list_contains($events, event_id) ORDER BY movement_id",
        chosen,
    )
    while rows := found.fetchmany(_FETCHED):
        for movement_id, kind, change, effective_at, recorded_at, *rest in rows:
            organizer, event, currency, *scope = rest[: len(cell)]
            deltas = zip(measures, rest[len(cell) :], strict=True)
            yield ChangedMovement(
                (organizer, event, currency, tuple(scope)),
                movement_id,
                kind,
                change,
                effective_at,
                recorded_at,
                {name: delta for name, delta in deltas if delta},
            )
