"""A whole deployment for tests: databases, bucket and a Dagster instance of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import redis
from dagster._core.instance.ref import InstanceRef
from psycopg.rows import dict_row

from pipelines.definitions import build_defs, build_lake
from pipelines.migrate import migrate
from pipelines.settings import Settings
from resources.lake import Lake

SQL = Path(__file__).parent / "data"
_REDIS_DATABASES = cycle(range(1, 16))
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Deployment:
    """Settings, databases and Dagster instance that nothing else uses."""

    settings: Settings
    source_owner_url: str
    folder: Path
    resources: dict[str, object] = field(default_factory=dict)

    @cached_property
    def definitions(self) -> dg.Definitions:
        return build_defs(self.settings, self.resources)

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_ref(
            InstanceRef.from_dir(
                str(self.folder),
                overrides={
                    "storage": {
                        "custom": {
                            "module": "resources.dagster_storage",
                            "class": "PooledPostgresStorage",
                            "config": {
                                "postgres_url": self.settings.dagster_url.get_secret_value()
                            },
                        }
                    },
                    # Capturing a run's output takes four processes; no test reads it.
                    "compute_logs": {
                        "module": "dagster._core.storage.noop_compute_log_manager",
                        "class": "NoOpComputeLogManager",
                    },
                    "telemetry": {"enabled": False},
                },
            )
        )

    @property
    def lake(self) -> Lake:
        return build_lake(self.settings)

    def source(self, *statements: str | Path) -> None:
        """Run statements, or files of tests/data, as the platform's owner."""
        with psycopg.connect(self.source_owner_url, autocommit=True) as connection:
            for statement in statements:
                text = statement.read_text() if isinstance(statement, Path) else statement
                connection.execute(text.encode())

    def rows(self, query: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Rows of the warehouse, as its publisher sees them."""
        with psycopg.connect(
            self.settings.warehouse_url.get_secret_value(), row_factory=dict_row
        ) as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def run(
        self,
        job: str,
        first: str | None = None,
        last: str | None = None,
        *,
        assets: Sequence[str] | None = None,
        check: bool = True,
    ) -> dg.ExecuteInProcessResult:
        """Run a job, or some of its assets, for a range of partitions, in this process."""
        tags = (
            {
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last or first,
            }
            if first
            else {}
        )
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags=tags,
            run_config=_QUIET,
            raise_on_error=check,
            asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
        )

    def close(self) -> None:
        if "instance" in self.__dict__:
            self.instance.dispose()


def own_redis(settings: Settings) -> str:
    """An empty database of the session's Redis: what other modules asked for counts for nothing."""
    server = settings.redis_url.get_secret_value().rpartition("/")[0]
    url = f"{server}/{next(_REDIS_DATABASES)}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def build_deployment(
    folder: Path,
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
    create_bucket: Callable[[str], None],
    *,
    copy_of: Deployment | None = None,
    time_zone: str = "Africa/Nairobi",
    start_date: date = date(2024, 1, 1),
    duckdb_threads: int = 1,
    **overrides: object,
) -> Deployment:
    """Create the databases and the bucket, and migrate; the source is left empty.

    Args:
        duckdb_threads: One where a handful of rows is read: DuckDB's second thread spins while
            the first opens a file, a quarter of a run's CPU.
        copy_of: An unused deployment. Its migrated databases are copied, which is much faster.
    """
    copied = _database_urls(copy_of) if copy_of is not None else {}

    def database(name: str, owner: str, connects: list[str] | None = None) -> str:
        return fresh_database(owner, connects, copied.get(name, "template1"))

    source = database("source", "ticketing", ["boxoffice_source_reader"])
    warehouse = database("warehouse", "boxoffice_owner", ["boxoffice_publisher"])
    lake = database("lake", "boxoffice_lake")
    dagster = database("dagster", "dagster")
    bucket = f"lake-{secrets.token_hex(4)}"
    create_bucket(bucket)
    settings = make_settings(
        source_url=role_url(source, "boxoffice_source_reader"),
        warehouse_owner_url=warehouse,
        warehouse_url=role_url(warehouse, "boxoffice_publisher"),
        lake_catalog_url=lake,
        dagster_url=dagster.replace("postgresql://", "postgresql+psycopg2://"),
        lake_bucket=bucket,
        time_zone=time_zone,
        start_date=start_date,
        duckdb_threads=duckdb_threads,
        **{"redis_url": own_redis(make_settings()), **overrides},
    )
    deployment = Deployment(settings=settings, source_owner_url=source, folder=folder)
    if copy_of is None:
        deployment.source(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
            " GRANT SELECT ON TABLES TO boxoffice_source_reader"
        )
        migrate(settings)
    else:
        with psycopg.connect(lake) as connection:
            connection.execute(
                "UPDATE ducklake_metadata SET value = %s WHERE key = 'data_path'",
                [deployment.lake.data_path],
            )
    return deployment


def _database_urls(deployment: Deployment) -> dict[str, str]:
    settings = deployment.settings
    return {
        "source": deployment.source_owner_url,
        "warehouse": settings.warehouse_owner_url.get_secret_value(),
        "lake": settings.lake_catalog_url.get_secret_value(),
        "dagster": settings.dagster_url.get_secret_value(),
    }
