"""Benchmark of the whole pipeline beside a bare script, the classic statement and dlt + dbt.

Belongs here: what is measured, in which order, and how it is told. Does not belong here: the
programs (``bench.worker``, ``bench.classic``, ``bench.dlt_dbt``), measuring (``bench.measure``) or
servers (``bench.platform``).

    python -m bench.pipeline --orders 5000000 --orders 10000000 --keep ~/boxoffice-bench

Everything runs on servers of its own, with the defaults of ``boxoffice up``.
"""

from __future__ import annotations

import json
import os
import platform as machine
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import psutil
import psycopg
import typer

from bench.classic import Classic, figures_of, plans_of_a_day, run_classic
from bench.dlt_dbt import BACKENDS, DltDbt, NotInstallableError, install
from bench.measure import SOURCE, Usage, run_program
from bench.platform import TIME_ZONE, UNTIL, Deployment, Servers, Source
from bench.report import tables
from local.progress import Reporter
from metrics.calendar import DayRange
from pipelines.settings import PROJECT_ROOT

ORDERS = (5_000_000, 10_000_000)
DAYS = (30, 365)
PARTS = ("dagster", "bare", "classic", "dlt", "plans", "single-days", "recompute", "ledger")


@dataclass
class Measured:
    """Everything measured on a source of one size."""

    orders: int
    source: dict[str, Any]
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, days: int, usage: Usage) -> None:
        """Keep what a program took over that many days."""
        self.runs[f"{name} {days}"] = asdict(usage)


class Bench:
    """The measurements on one source, in the order that lets them share deployments."""

    def __init__(self, servers: Servers, source: Source, reporter: Reporter) -> None:
        """Measure nothing yet."""
        self.servers, self.source, self.reporter = servers, source, reporter
        self.measured = Measured(
            source.orders,
            {"rows": source.rows, "bytes": source.bytes, "seed_seconds": source.seed_seconds},
        )

    def measure(self, all_days: list[int], parts: set[str]) -> Measured:
        """Measure the parts for each number of days."""
        for count in sorted(all_days):
            days = last_days(count)
            figures: dict[str, str] = {}
            versions: dict[str, Any] = {}
            longest = count == max(all_days)
            for program in ("bare", "dagster"):
                if program not in parts:
                    continue
                deployment = self.servers.deploy(self.source, days.first)
                self._program(program, deployment, days)
                url = deployment.settings.warehouse_url.get_secret_value()
                figures[program] = figures_of(url, "reporting", days)
                versions[program] = _versions(url)
                if longest and program == "bare":
                    self._on_full_lake(deployment, days, parts)
                if longest and program == "dagster" and "recompute" in parts:
                    self._recompute(deployment, days)
                self.servers.drop(deployment)
            if "classic" in parts:
                figures["classic"] = self._classic(days).figures
            if "dlt" in parts:
                figures |= self._dlt(days, longest)
            self._compare(count, figures, versions)
        if "plans" in parts:
            self._plans(last_days(1))
        return self.measured

    def _program(
        self, task: str, deployment: Deployment, days: DayRange, name: str | None = None
    ) -> Usage:
        report = deployment.folder / f"{task}.json"
        title = f"{self.source.orders:,} orders, {len(days.days)} days: {name or task}"
        with self.reporter.step(title) as step:
            usage = run_program(
                [
                    *(sys.executable, "-m", "bench.worker", task),
                    *(str(days.first), str(days.last), report),
                ],
                deployment.environment(),
                report,
                deployment.folder / f"{task}.log",
                self.servers.pids(),
                PROJECT_ROOT,
            )
            step.detail = f"{usage.seconds:.1f} s, {usage.peak_bytes / 2**20:.0f} MiB"
        self.measured.add(name or task, len(days.days), usage)
        return usage

    def _on_full_lake(self, deployment: Deployment, days: DayRange, parts: set[str]) -> None:
        if "ledger" in parts:
            self._program("ledger", deployment, days)
        if "single-days" in parts:
            self._program("single-days", deployment, days)

    def _recompute(self, deployment: Deployment, days: DayRange) -> None:
        """Recompute while the source is stopped: nothing can be read from it."""
        self.servers.source.stop()
        try:
            self._program("recompute", deployment, days)
        finally:
            self.servers.source.start()
        rows = _query(
            deployment.settings.warehouse_url.get_secret_value(),
            "SELECT count(*), count(*) FILTER (WHERE n > 1) FROM (SELECT count(*) AS n"
            " FROM ops.publications WHERE dataset = 'daily_metrics' GROUP BY partition_key)",
        )
        self.measured.notes["recomputed days"] = rows[0][1]
        if rows[0][0] != rows[0][1]:
            raise AssertionError(f"only {rows[0][1]} of {rows[0][0]} days were published anew")

    def _classic(self, days: DayRange) -> Classic:
        with self.reporter.step(
            f"{self.source.orders:,} orders, {len(days.days)} days: classic"
        ) as step:
            pid = self.servers.pids()[SOURCE]
            classic = run_classic(self.source.url(), pid, days)
            step.detail = f"{classic.seconds:.1f} s, {classic.cpu_seconds:.1f} s of CPU"
        usage = Usage(classic.seconds, 0, {SOURCE: classic.cpu_seconds}, {}, {"rows": classic.rows})
        self.measured.add("classic", len(days.days), usage)
        return classic

    def _dlt(self, days: DayRange, longest: bool) -> dict[str, str]:
        try:
            python = install(self.servers.folder / "dlt-dbt", self.reporter)
        except NotInstallableError as error:
            self.reporter.say(f"dlt + dbt is left out: {error}", style="yellow")
            self.measured.notes["dlt + dbt"] = str(error)
            return {}
        figures = {}
        for backend in BACKENDS[:1] if longest and len(days.days) > 31 else BACKENDS:
            name = f"dlt {backend}"
            with self.reporter.step(
                f"{self.source.orders:,} orders, {len(days.days)} days: {name}"
            ) as step:
                run = DltDbt(python, self.servers.folder / "target", self.source, backend)
                usage = run.run(days, self.servers.pids())
                step.detail = f"{usage.seconds:.1f} s, {usage.peak_bytes / 2**20:.0f} MiB"
                figures[name] = run.figures(days)
                run.delete()
            self.measured.add(name, len(days.days), usage)
        return figures

    def _plans(self, day: DayRange) -> None:
        plans = plans_of_a_day(self.source.url("boxoffice_source_reader"), day)
        self.measured.notes["plans"] = [asdict(plan) for plan in plans]
        for plan in plans:
            scans = ", ".join(f"{node} {index or relation}" for node, relation, index in plan.scans)
            self.reporter.say(
                f"  {plan.fact}: {plan.rows:,} rows, {plan.buffers:,} pages,"
                f" {plan.milliseconds:.1f} ms: {scans}"
            )

    def _compare(self, days: int, figures: dict[str, str], versions: dict[str, Any]) -> None:
        """Every way must come to the same figures.

        Raises:
            AssertionError: they do not.
        """
        if len(set(figures.values())) > 1:
            raise AssertionError(f"{days} days: the figures differ: {figures}")
        if len(versions) == 2 and versions["bare"] != versions["dagster"]:
            raise AssertionError(f"{days} days: published partitions differ")
        self.measured.notes[f"same figures {days}"] = sorted(figures)
        self.reporter.say(f"  {days} days: {', '.join(sorted(figures))} agree to the cent")


def last_days(count: int) -> DayRange:
    """The last days of the history."""
    return DayRange(TIME_ZONE, UNTIL - timedelta(days=count - 1), UNTIL)


def _versions(url: str) -> list[tuple[Any, ...]]:
    """Content hash of every published partition."""
    return _query(
        url, "SELECT dataset, partition_key, data_version FROM ops.partitions ORDER BY 1, 2"
    )


def _query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def describe_machine() -> dict[str, Any]:
    """What the figures depend on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in _lines(Path("/proc/cpuinfo"))
            if line.startswith("model name")
        ),
        machine.processor(),
    )
    return {
        "cpu": model,
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{machine.system()} {machine.release()}",
        "python": machine.python_version(),
        "load_before": os.getloadavg(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def run(
    folder: Path,
    orders: list[int],
    days: list[int],
    months: int = 13,
    parts: set[str] | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Measure everything and return the figures, as they are written to the JSON file.

    Args:
        folder: for servers and seeded sources.
        months: length of the source's history.
        parts: of ``PARTS``; all by default.
    """
    reporter = reporter or Reporter()
    results: dict[str, Any] = {
        "machine": describe_machine(),
        "command": " ".join(["python -m bench.pipeline", *sys.argv[1:]]),
        "months": months,
        "sizes": [],
    }
    for size in sorted(orders):
        servers = Servers(folder, size, months)
        with servers.running():
            source = servers.seeded(reporter)
            bench = Bench(servers, source, reporter)
            results["sizes"].append(asdict(bench.measure(days, parts or set(PARTS))))
    return results


def main(
    orders: Annotated[list[int], typer.Option(help="Orders of the source.")] = list(ORDERS),  # noqa: B006
    days: Annotated[list[int], typer.Option(help="Days up to the end of the history.")] = list(  # noqa: B006
        DAYS
    ),
    months: Annotated[int, typer.Option(help="Months of history the source has.")] = 13,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for servers; seeded sources in it are reused.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path(
        "bench-pipeline.json"
    ),
    only: Annotated[
        list[str] | None, typer.Option(help=f"Measure only this: {', '.join(PARTS)}.")
    ] = None,
) -> None:
    """Measure the pipeline; prints tables and writes a JSON file."""
    if unknown := set(only or ()) - set(PARTS):
        raise typer.BadParameter(f"unknown parts: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="boxoffice-bench-") as temporary:
        folder = keep.resolve() if keep else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = run(folder, orders, days, months, set(only) if only else None)
    output.write_text(json.dumps(results, indent=1, default=str))
    print(tables(results))
    print(f"\nWritten to {output}")


if __name__ == "__main__":
    typer.run(main)
