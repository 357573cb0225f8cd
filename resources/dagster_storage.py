"""Dagster's Postgres storage with its connections kept open.

Belongs here: nothing but the pooling. dagster-postgres opens a connection for every statement
outside the webserver, and a backfill writes two events for each asset and day: most of a run's
overhead was connecting (see docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config

_STATEMENT_TIMEOUT_MS = 60_000
_RECYCLE_SECONDS = 600
_MAX_OVERFLOW = 10


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
        for store in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
            store.optimize_for_webserver(
                statement_timeout=_STATEMENT_TIMEOUT_MS,
                pool_recycle=_RECYCLE_SECONDS,
                max_overflow=_MAX_OVERFLOW,
            )
        return storage
