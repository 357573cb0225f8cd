"""What many would pick instead: dlt extracts into a DuckDB file, dbt-duckdb computes the metrics.

Belongs here: installing both into an environment of their own, running them, and the figures they
come to. ``load.py`` runs in that environment, ``models/`` is the dbt project. Does not belong
here: measuring (``bench.measure``).

They do less than the pipeline: no attendees, no payments and ticket types per day, no control sums,
no versions, and nothing is published to Postgres.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

from bench.measure import Usage, run_program
from bench.platform import Source
from local.progress import Reporter
from metrics.calendar import DayRange
from metrics.datasets import DAILY_METRICS
from pipelines.settings import PROJECT_ROOT

BACKENDS = ("connectorx", "pyarrow")
REQUIREMENTS = (
    "dlt[duckdb]==1.31.0",
    "sqlalchemy",
    "connectorx==0.4.6",
    "dbt-core==1.10.23",
    "dbt-duckdb==1.11.1",
    "duckdb==1.5.5",
    "psycopg2-binary",
    "pyarrow",
    "numpy",
    "psutil",
)
_HERE = Path(__file__).parent


class NotInstallableError(RuntimeError):
    """The packages cannot be installed here; the message has pip's reason."""


def install(folder: Path, reporter: Reporter) -> Path:
    """Install dlt and dbt once; return the environment's Python.

    Raises:
        NotInstallableError: they cannot be installed.
    """
    python = folder / "bin" / "python"
    complete = folder / "installed"
    if complete.exists() and complete.read_text() == "\n".join(REQUIREMENTS):
        return python
    with reporter.step("Installing dlt and dbt-duckdb"):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        result = subprocess.run(
            [
                *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *REQUIREMENTS,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise NotInstallableError("\n".join(result.stderr.splitlines()[-5:]))
        complete.write_text("\n".join(REQUIREMENTS))
    return python


class DltDbt:
    """One run of dlt and dbt with files of its own."""

    def __init__(self, python: Path, folder: Path, source: Source, backend: str) -> None:
        """Run nothing yet."""
        self._python, self._backend = python, backend
        self._folder = folder / f"dlt-{secrets.token_hex(4)}"
        self._url = source.url("boxoffice_source_reader")
        self._database = self._folder / "bench.duckdb"

    def run(self, days: DayRange, servers: dict[str, int]) -> Usage:
        """Load the days and build the models, in one process."""
        self._folder.mkdir(parents=True)
        shutil.copytree(_HERE, self._folder / "project", ignore=shutil.ignore_patterns("__*"))
        report = self._folder / "report.json"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BOXOFFICE_", "DAGSTER_", "AWS_", "PG"))
        }
        environment = inherited | {
            # load.py reports with bench.measure; nothing else of the project is imported.
            "PYTHONPATH": str(PROJECT_ROOT),
            "HOME": str(self._folder),
            "BENCH_SOURCE_URL": self._url,
            "BENCH_DATABASE": str(self._database),
            "BENCH_PROJECT": str(self._folder / "project"),
            "BENCH_REPORT": str(report),
            "BENCH_BACKEND": self._backend,
            "BENCH_TIME_ZONE": days.time_zone,
            "BENCH_FIRST": str(days.first),
            "BENCH_LAST": str(days.last),
            "BENCH_START": days.start.isoformat(),
            "BENCH_END": days.end.isoformat(),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DO_NOT_TRACK": "1",
        }
        return run_program(
            [self._python, _HERE / "load.py"],
            environment,
            report,
            self._folder / "log",
            servers,
            self._folder,
        )

    def figures(self, days: DayRange) -> str:
        """Hash of every figure of ``daily_metrics``, as ``bench.classic.figures_of``."""
        exported = self._folder / "daily_metrics.csv"
        columns = ", ".join(DAILY_METRICS.column_names)
        grain = ", ".join(column.name for column in DAILY_METRICS.grain)
        with duckdb.connect(str(self._database), read_only=True) as connection:
            connection.execute(
                f"COPY (SELECT {columns} FROM finished.daily_metrics WHERE business_date BETWEEN"
                f" DATE '{days.first}' AND DATE '{days.last}' ORDER BY {grain})"
                f" TO '{exported}' (FORMAT csv, HEADER false)"
            )
        return hashlib.sha256(exported.read_bytes()).hexdigest()

    def delete(self) -> None:
        """Delete its files."""
        shutil.rmtree(self._folder)
