"""Dagster's Postgres storage for runs of many partitions.

Belongs here: keeping connections open, and storing events together. A backfill writes two events
for each asset and day; dagster-postgres opens connections for each outside the webserver, and
stores those that announce a materialization one by one. That took longer than the work itself
(see docs/benchmarks.md). Checks are announced once. What else is stored, and how it is read, is
dagster-postgres's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from dagster import AssetKey, DagsterEventType, EventLogEntry
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
)
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config
from dagster_shared.record import copy

_STATEMENT_TIMEOUT_MS = 60_000
_RECYCLE_SECONDS = 600
_MAX_OVERFLOW = 10


class BatchingEventLogStorage(PostgresEventLogStorage):
    """``PostgresEventLogStorage`` that stores announced materializations in one statement."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events together; the asset's record is updated by its last one, as for the rest."""
        planned = [event for event in events if _is_planned(event)]
        others = [event for event in events if not _is_planned(event)]
        if planned:
            with self._connect() as connection:
                inserted = connection.execute(
                    self.prepare_insert_event_batch(planned).returning(SqlEventLogStorageTable.c.id)
                )
                ids = [int(row[0]) for row in inserted.fetchall()]
            last: dict[AssetKey, tuple[EventLogEntry, int]] = {}
            for event, event_id in zip(planned, ids, strict=True):
                key = event.get_dagster_event().asset_key
                if key is not None:
                    last[key] = (event, event_id)
            with self.index_transaction() as connection:
                for event, event_id in last.values():
                    self._store_asset_event(connection, event, event_id)
        if others:
            super().store_event_batch(others)

    def store_asset_check_event(self, event: EventLogEntry, event_id: int | None) -> None:
        """Announce a check once: no check here has partitions.

        Dagster stores the announcement for each partition of a range all the same, and what the
        check finds beside them: 92 days of daily datasets were 2,024 rows that nobody completes.
        """
        told = event.get_dagster_event()
        if isinstance(told.event_specific_data, AssetCheckEvaluationPlanned):
            once = copy(told.event_specific_data, partitions_subset=None)
            event = event._replace(dagster_event=told._replace(event_specific_data=once))
        super().store_asset_check_event(event, event_id)


def _is_planned(event: EventLogEntry) -> bool:
    return event.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION_PLANNED


class PooledPostgresStorage(DagsterPostgresStorage):
    """``DagsterPostgresStorage`` that keeps one connection open for each of its three stores."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Build it from ``dagster.yaml``; the same configuration as the class it extends."""
        storage = cls(
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
            token_provider=get_token_provider_from_config(config_value),
        )
        storage._event_log_storage = BatchingEventLogStorage(
            storage.postgres_url,
            storage.should_autocreate_tables,
            token_provider=get_token_provider_from_config(config_value),
        )
        for store in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
            store.optimize_for_webserver(
                statement_timeout=_STATEMENT_TIMEOUT_MS,
                pool_recycle=_RECYCLE_SECONDS,
                max_overflow=_MAX_OVERFLOW,
            )
        return storage
