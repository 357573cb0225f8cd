"""What the benchmarks run on: embedded servers of their own, a seeded source, fresh deployments.

Belongs here: servers, databases, buckets and the environment of the programs measured. Does not
belong here: what is measured.

The source has a Postgres server to itself, so that the CPU time the pipeline takes from it can be
told apart from that of the lake's catalog, the warehouse and Dagster's storage.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg

from bench.measure import SOURCE
from local import ports
from local.environment import dagster_variables
from local.progress import Reporter
from local.provision import CONNECTS, OWNERS, ensure_database, provision, role_passwords
from local.servers import EmbeddedPostgres, EmbeddedS3
from local.ticketing.seed import seed
from pipelines.settings import PROJECT_ROOT, Settings

TIME_ZONE = "Africa/Nairobi"
UNTIL = date(2026, 6, 30)
"""Last day of the history: fixed, so that the same sizes have the same rows."""
_SEED = 1
_PORTS = (25532, 25533, 29100)


@dataclass(frozen=True)
class Source:
    """A seeded ticketing platform."""

    postgres: EmbeddedPostgres
    orders: int
    rows: dict[str, int]
    seed_seconds: float
    bytes: int

    def url(self, role: str = "ticketing") -> str:
        """URL for its owner, or for another role."""
        return self.postgres.url("ticketing", role, role_passwords(self.postgres)[role])


@dataclass(frozen=True)
class Deployment:
    """Databases and a bucket that one measurement has for itself."""

    settings: Settings
    folder: Path

    def environment(self) -> dict[str, str]:
        """Environment of a program of this deployment, and nothing else of Box Office's."""
        values = {
            f"BOXOFFICE_{name.upper()}": value
            for name, value in _plain(self.settings).items()
            if value is not None
        }
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BOXOFFICE_", "DAGSTER_", "AWS_", "PG"))
        }
        code_server = ports.choose(24266)  # named by workspace.yaml; nothing listens
        paths = {"PYTHONPATH": str(PROJECT_ROOT), "TMPDIR": str(self.folder)}
        return inherited | values | dagster_variables(self.settings, code_server) | paths


class Servers:
    """Two Postgres servers and S3 below one folder, with the defaults of ``boxoffice up``."""

    def __init__(self, folder: Path, orders: int, months: int) -> None:
        """Start nothing yet."""
        self.folder = folder
        source = folder / f"source-{orders}-{months}-{_SEED}-{UNTIL}"
        chosen: list[int] = []
        for preferred in _PORTS:
            chosen.append(ports.choose(preferred, reserved=chosen))
        self.source = EmbeddedPostgres(source, chosen[0])
        self.target = EmbeddedPostgres(folder / "target", chosen[1])
        self.s3 = EmbeddedS3(folder / "target", chosen[2])
        self._orders, self._months = orders, months

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start all; stop them and delete all but the source."""
        started: list[EmbeddedPostgres | EmbeddedS3] = []
        shutil.rmtree(self.folder / "target", ignore_errors=True)
        try:
            for server in (self.source, self.target, self.s3):
                server.start()
                started.append(server)
            provision(self.target)
            yield
        finally:
            for server in reversed(started):
                server.stop()
            shutil.rmtree(self.folder / "target", ignore_errors=True)

    def pids(self) -> dict[str, int]:
        """Process ids, by the names figures are reported under; only what runs."""
        servers = {
            SOURCE: self.source,
            "postgres_target": self.target,
            "s3": self.s3,
        }
        return {name: server.pid for name, server in servers.items() if server.pid is not None}

    def seeded(self, reporter: Reporter) -> Source:
        """Return the source; seed it where the folder does not have it yet."""
        provision(self.source)
        note = self.source.root / "seeded.json"
        if not note.exists():
            note.write_text(json.dumps(self._seed(reporter)))
        return Source(self.source, self._orders, **json.loads(note.read_text()))

    def _seed(self, reporter: Reporter) -> dict[str, object]:
        with reporter.step(f"Seeding {self._orders:,} orders") as step:
            url = self.source.url(
                "ticketing", "ticketing", role_passwords(self.source)["ticketing"]
            )
            report = seed(
                url,
                orders=self._orders,
                until=UNTIL,
                months=self._months,
                seed=_SEED,
                time_zone=TIME_ZONE,
                progress=step.progress,
            )
            with psycopg.connect(url, autocommit=True) as connection:
                # As autovacuum does on a live platform; else the first reader pays for hint bits.
                connection.execute("VACUUM (ANALYZE)")
                size = connection.execute(
                    "SELECT pg_database_size(current_database())"
                ).fetchone() or (0,)
            with psycopg.connect(self.source.url(), autocommit=True) as connection:
                connection.execute("CHECKPOINT")
            return {
                "rows": report.rows,
                "seed_seconds": report.seconds["total"],
                "bytes": int(size[0]),
            }

    def deploy(self, source: Source, start_date: date, **overrides: object) -> Deployment:
        """Create databases and a bucket nobody used, and migrate."""
        from pipelines.migrate import migrate

        token = secrets.token_hex(4)
        passwords = role_passwords(self.target)
        with psycopg.connect(self.target.url(), autocommit=True) as connection:
            for name in ("lake", "warehouse", "dagster"):
                database = f"{name}_{token}"
                ensure_database(connection, database, OWNERS[name])
                for role in CONNECTS.get(name, []):
                    connection.execute(
                        f'GRANT CONNECT ON DATABASE "{database}" TO "{role}"'.encode()
                    )

        def url(name: str, role: str) -> str:
            return self.target.url(f"{name}_{token}", role, passwords[role])

        buckets = {kind: f"{kind}-{token}" for kind in ("lake", "exports", "logs")}
        self.s3.create_buckets(*buckets.values())
        values: dict[str, object] = {
            "time_zone": TIME_ZONE,
            "start_date": start_date,
            "source_url": source.url("boxoffice_source_reader"),
            "lake_catalog_url": url("lake", OWNERS["lake"]),
            "warehouse_url": url("warehouse", "boxoffice_publisher"),
            "warehouse_owner_url": url("warehouse", OWNERS["warehouse"]),
            "dagster_url": url("dagster", OWNERS["dagster"]).replace(
                "postgresql://", "postgresql+psycopg2://", 1
            ),
            "redis_url": "redis://127.0.0.1:1/0",
            "s3_endpoint_url": self.s3.endpoint_url,
            "s3_access_key_id": self.s3.access_key_id,
            "s3_secret_access_key": self.s3.password,
            "buyer_key_secret": "0123456789abcdef0123456789abcdef",
            **{f"{kind}_bucket": name for kind, name in buckets.items()},
            **overrides,
        }
        settings = Settings(_env_file=None, **values)  # type: ignore[arg-type]
        migrate(settings)
        folder = self.folder / "target" / token
        folder.mkdir()
        return Deployment(settings, folder)

    def drop(self, deployment: Deployment) -> None:
        """Delete a deployment's databases and files, so that disk space lasts."""
        with psycopg.connect(self.target.url(), autocommit=True) as connection:
            for url in (
                deployment.settings.lake_catalog_url,
                deployment.settings.warehouse_url,
                deployment.settings.dagster_url,
            ):
                name = url.get_secret_value().rsplit("/", 1)[1]
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            connection.execute("CHECKPOINT")
        settings = deployment.settings
        for bucket in (settings.lake_bucket, settings.exports_bucket, settings.logs_bucket):
            shutil.rmtree(self.s3.data_directory / bucket, ignore_errors=True)
        shutil.rmtree(deployment.folder, ignore_errors=True)


def _plain(settings: Settings) -> dict[str, str | None]:
    dumped = settings.model_dump(mode="python")
    return {
        name: None
        if value is None
        else value.get_secret_value()
        if hasattr(value, "get_secret_value")
        else str(value)
        for name, value in dumped.items()
    }
