"""A warehouse for the bench of the read API: finished rows written straight into its tables.

Belongs here: servers, rows, publications, and connections as readers make them. Does not belong
here: what is measured (``bench.api``).

Tables, indexes, roles and row-level security are those of the migrations; only the rows do not come
from the pipeline.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
from jinja2 import Environment, StrictUndefined

from bench.platform import TIME_ZONE, UNTIL
from local import ports
from local.progress import Reporter
from local.provision import provision
from local.servers import EmbeddedPostgres, EmbeddedRedis
from metrics.datasets import DAILY_METRICS, DATASETS, EVENT_SUMMARY, MONTHLY_REVENUE, WEEKLY_REVENUE
from metrics.registry import METRICS, MONEY, Derived
from pipelines.settings import Settings
from warehouse.migrate import upgrade

_SQL = Path(__file__).parent / "sql"
_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - SQL
_PORTS = (25534, 26380)
_OPEN_DAYS = 40


@dataclass(frozen=True)
class Size:
    """How much there is; every event is on sale on every day."""

    days: int = 400
    organizers: int = 500
    events: int = 10

    @property
    def rows(self) -> int:
        """Rows of ``daily_metrics``."""
        return self.days * self.organizers * self.events

    @property
    def year(self) -> tuple[date, date]:
        """First and last day of the year that is asked for: 365 days, or all there are."""
        return UNTIL - timedelta(days=min(365, self.days) - 1), UNTIL


def statement(name: str, **values: Any) -> bytes:
    """A file of ``bench/sql`` with its blocks filled in."""
    text = (_SQL / f"{name}.sql").read_text(encoding="utf-8")
    return _ENVIRONMENT.from_string(text).render(**values).encode()


class Warehouse:
    """Postgres with the warehouse, and Redis, below one folder."""

    def __init__(self, folder: Path, size: Size) -> None:
        """Start nothing yet."""
        self.size = size
        root = folder / f"warehouse-{size.days}-{size.organizers}-{size.events}"
        chosen: list[int] = []
        for preferred in _PORTS:
            chosen.append(ports.choose(preferred, reserved=chosen))
        self.postgres = EmbeddedPostgres(root, chosen[0])
        self.redis = EmbeddedRedis(root, chosen[1])
        self._root = root

    @contextmanager
    def running(self, reporter: Reporter) -> Iterator[Settings]:
        """Start both, migrate, fill what is empty; yield the read API's settings."""
        started: list[EmbeddedPostgres | EmbeddedRedis] = []
        try:
            for server in (self.postgres, self.redis):
                server.start()
                started.append(server)
            variables = provision(self.postgres)
            settings = self._settings(variables)
            upgrade(variables["BOXOFFICE_WAREHOUSE_OWNER_URL"])
            note = self._root / "filled.json"
            if not note.exists():
                with reporter.step(f"Writing {self.size.rows:,} finished rows"):
                    fill(settings.warehouse_url.get_secret_value(), self.size)
                    self._settle()
                note.write_text(json.dumps({"rows": self.size.rows}))
            yield settings
        finally:
            for server in reversed(started):
                server.stop()

    def _settings(self, variables: dict[str, str]) -> Settings:
        values: dict[str, Any] = {
            name.removeprefix("BOXOFFICE_").lower(): value for name, value in variables.items()
        }
        del values["source_owner_url"]
        values |= {
            "time_zone": TIME_ZONE,
            "start_date": UNTIL - timedelta(days=self.size.days - 1),
            "redis_url": self.redis.url,
            "s3_endpoint_url": "http://127.0.0.1:1",
            "buyer_key_secret": secrets.token_hex(32),
            "api_token_secret": secrets.token_hex(32),
            "api_workers": 2,
            "api_access_log": False,
            # Nobody is to be refused; counting is what is measured.
            "api_rate_limits": {"read": 10**9, "heavy": 10**9},
        }
        return Settings(_env_file=None, **values)

    def _settle(self) -> None:
        # As autovacuum leaves a table that is only added to.
        with psycopg.connect(self.postgres.url("warehouse"), autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")


def fill(publisher_url: str, size: Size) -> None:
    """Write rows and publications of every table that the read API's series come from."""
    names = DAILY_METRICS.metric_names
    derived = [(m.name, m.formula) for m in METRICS.values() if isinstance(m, Derived)]
    blocks: dict[str, Any] = {
        "columns": ", ".join(DAILY_METRICS.column_names),
        "metrics": names,
        "base": [name for name in names if name not in dict(derived)],
        "money": {name for name in names if METRICS[name].unit == MONEY},
        "derived": derived,
    }
    given = {
        "last": UNTIL,
        "days": size.days,
        "organizers": size.organizers,
        "events": size.events,
    }
    with psycopg.connect(publisher_url) as connection:
        connection.execute(statement("api_daily_metrics", **blocks), given)
        for rollup, unit in ((WEEKLY_REVENUE, "week"), (MONTHLY_REVENUE, "month")):
            connection.execute(_summing("api_rollup", rollup.name, unit=unit))
        connection.execute(_summing("api_event_summary", EVENT_SUMMARY.name))
        final_until = (UNTIL - timedelta(days=_OPEN_DAYS)).isoformat()
        for dataset in (DAILY_METRICS, WEEKLY_REVENUE, MONTHLY_REVENUE, EVENT_SUMMARY):
            key = "'all'" if dataset.period == "all" else f"{dataset.grain[0].name}::text"
            connection.execute(
                statement("api_partitions", dataset=dataset.name, key=key),
                {"dataset": dataset.name, "final_until": final_until},
            )


def _summing(name: str, dataset: str, **values: str) -> bytes:
    found = DATASETS[dataset]
    columns = ", ".join(found.column_names)
    return statement(name, dataset=dataset, columns=columns, metrics=found.metric_names, **values)
