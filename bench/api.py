"""Benchmark of the read API beside bare servers, pgbench and Cube.

Belongs here: what is asked of whom, in which order, and the tables. Does not belong here: the rows
(``bench.api_warehouse``), load (``bench.api_load``) or applications (``bench.api_app``).

    python -m bench.api

Needs ``wrk``; Node 20 or newer and npm for Cube, which ``--no-cube`` leaves out. Everything, load
included, runs on this machine, so only ratios within one run say much.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import jwt
import typer

from api.periods import Periods
from api.principal import Principal
from api.statements import statement
from api.tokens import mint
from api.written import by_currency
from bench.api_app import WATERFALL
from bench.api_load import (
    Load,
    ToolMissingError,
    fetch_until,
    pgbench,
    serving,
    with_cpu,
    worker_bytes,
    wrk,
)
from bench.api_warehouse import Size, Warehouse
from bench.pipeline import describe_machine
from bench.platform import Deployment
from exports.masking import Role
from local import ports
from local.progress import Reporter
from pipelines.settings import PROJECT_ROOT, Settings

CONNECTIONS = (1, 16, 64)
_CUBE_FOLDER = Path(__file__).parent / "node" / "cube"
_HOT = 20
_ADMIN_ROLE = "boxoffice_admin_reader"
Ask = Callable[[int], tuple[str, str]]


@dataclass
class Results:
    """Figures by case and number of connections, in the order in which they were measured."""

    loads: dict[str, dict[int, Load]] = field(default_factory=dict)
    worker_bytes: dict[str, list[int]] = field(default_factory=dict)

    def add(self, case: str, connections: int, load: Load) -> None:
        """Keep one figure."""
        self.loads.setdefault(case, {})[connections] = load

    def cheaper(self, case: str, other: str, connections: int) -> float | None:
        """Processor time of another one over that of one; None where one was not measured."""
        mine = self.loads.get(case, {}).get(connections)
        theirs = self.loads.get(other, {}).get(connections)
        if mine is None or theirs is None or mine.cpu is None or theirs.cpu is None:
            return None
        return theirs.cpu / max(mine.cpu, 1e-9)

    def ratio(self, case: str, other: str, connections: int) -> float | None:
        """Requests a second of one over those of another; None where one was not measured."""
        mine = self.loads.get(case, {}).get(connections)
        theirs = self.loads.get(other, {}).get(connections)
        return None if mine is None or theirs is None else mine.per_second / theirs.per_second


@dataclass(frozen=True)
class Bench:
    """One run: the warehouse, and how long each case lasts."""

    settings: Settings
    size: Size
    folder: Path
    seconds: float
    connections: tuple[int, ...]
    results: Results
    reporter: Reporter
    servers: tuple[int, ...] = ()

    # --- What is asked ----------------------------------------------------------------------

    def questions(self) -> dict[str, Ask]:
        """Requests of each case, by number: path with query, and ``Authorization``."""
        first, last = self.size.year
        year = f"from={first}&to={last}"
        month = f"from={last - timedelta(days=min(29, self.size.days - 1))}&to={last}"
        admin = self._token(Role.ADMIN)
        tokens = [self._token(Role.ORGANIZER, n + 1) for n in range(self.size.organizers)]

        def organizer(number: int) -> int:
            return number * 7 % self.size.organizers + 1

        def revenue(path: str, days: str) -> Ask:
            return lambda n: (f"{path}?organizer={organizer(n)}&{days}", admin)

        def own(path: str) -> Ask:
            return lambda n: (
                f"/api/organizer/analytics/{path}".replace("EVENT", str(self._event(n))),
                tokens[organizer(n) - 1],
            )

        return {
            "revenue, 365 days": revenue("/bench/summed", year),
            "revenue, 30 days": revenue("/bench/summed", month),
            "revenue, 365 days, from events' days": revenue("/bench/grouped", year),
            "revenue endpoint, 365 days": revenue("/api/v1/admin/analytics/revenue", year),
            "sales chart of an event, 365 days": own(f"sales-chart/EVENT?{year}"),
            "overview of an organizer": own("dashboard-overview"),
        }

    def _event(self, number: int) -> int:
        organizer = number * 7 % self.size.organizers + 1
        return organizer * 100 + number % self.size.events

    def _token(self, role: Role, organizer: int | None = None) -> str:
        principal = Principal("bench@example.com", role, organizer)
        return f"Bearer {mint(self.settings, principal, 6 * 3600)}"

    def _file(self, ask: Ask, count: int) -> Path:
        path = self.folder / "requests"
        path.write_text("".join("\t".join(ask(n)) + "\n" for n in range(count)))
        path.chmod(0o600)
        return path

    # --- Measuring --------------------------------------------------------------------------

    def measure(
        self, case: str, url: str, ask: Ask, count: int, connections: int, server: int
    ) -> None:
        """Load one case; ``count`` different requests, in turn."""
        with self.reporter.step(f"{case}, {connections} connections") as step:
            requests = self._file(ask, count)
            load = with_cpu(
                lambda: wrk(url, requests, connections, self.seconds), (server, *self.servers)
            )
            step.detail = f"{load.per_second:,.0f}/s"
        self.results.add(case, connections, load)

    def hello(self) -> None:
        """Two servers that only say hello."""
        for case, application, factory in (
            ("bare ASGI hello", "hello", False),
            ("FastAPI hello", "fastapi_hello", True),
        ):
            with self._uvicorn(application, os.environ, factory=factory) as (url, server):
                for connections in self.connections:
                    self.measure(case, url, lambda _: ("/", ""), 1, connections, server.pid)

    def cold(self) -> None:
        """Nothing is kept: every answer comes from Postgres, beside pgbench of its statement."""
        scripts = self._scripts()
        questions = self.questions()
        reader = self.settings.warehouse_reader_url
        if reader is None:
            raise ValueError("the warehouse has no reader")
        with self._box_office(cache_seconds=0) as (url, server):
            for connections in self.connections:
                for case, script in scripts.items():
                    with self.reporter.step(f"{case}, {connections} clients") as step:
                        load = with_cpu(
                            partial(
                                pgbench,
                                reader.get_secret_value(),
                                script,
                                _ADMIN_ROLE,
                                connections,
                                self.seconds,
                            ),
                            self.servers,
                        )
                        step.detail = f"{load.per_second:,.0f}/s"
                    self.results.add(case, connections, load)
                for case, ask in questions.items():
                    count = self.size.organizers
                    self.measure(f"{case}, uncached", url, ask, count, connections, server.pid)
            self.results.worker_bytes["uncached"] = worker_bytes(server)

    def cached(self) -> None:
        """Twenty answers that were asked for before."""
        with self._box_office(cache_seconds=300) as (url, server):
            for case, ask in self.questions().items():
                if case.endswith(("from events' days", "endpoint, 365 days")):
                    continue
                wrk(url, self._file(ask, _HOT), 2, 1)  # fills the cache
                for connections in self.connections:
                    self.measure(f"{case}, cached", url, ask, _HOT, connections, server.pid)
            self.results.worker_bytes["cached"] = worker_bytes(server)

    def cube(self) -> None:
        """Cube with its memory cache, asked for the same metrics of the same days."""
        folder = _installed_cube(self.folder / "cube", self.reporter)
        port = ports.choose(24_500)
        secret = secrets.token_hex(32)
        publisher = urlsplit(self.settings.warehouse_url.get_secret_value())
        environment = {
            **_outside(),
            "CUBEJS_DB_TYPE": "postgres",
            "CUBEJS_DB_HOST": str(publisher.hostname),
            "CUBEJS_DB_PORT": str(publisher.port),
            "CUBEJS_DB_NAME": publisher.path[1:],
            "CUBEJS_DB_USER": str(publisher.username),
            "CUBEJS_DB_PASS": str(publisher.password),
            "CUBEJS_API_SECRET": secret,
            "CUBEJS_CACHE_AND_QUEUE_DRIVER": "memory",
            "CUBEJS_SCHEMA_PATH": "schema",
            "CUBEJS_TELEMETRY": "false",
            "CUBEJS_LOG_LEVEL": "error",
            "NODE_ENV": "production",
            "NODE_OPTIONS": f"-r {folder}/without-native.cjs",
            "PORT": str(port),
        }
        token = jwt.encode({"exp": int(time.time()) + 6 * 3600}, secret, "HS256")
        command = ["node", f"{folder}/node_modules/.bin/cubejs-server", "server"]
        url = f"http://127.0.0.1:{port}"
        first, last = self.size.year
        month = last - timedelta(days=min(29, self.size.days - 1))
        log = self.folder / "cube.log"
        with serving(command, environment, f"{url}/livez", log, folder) as server:
            for case, start in (("365 days", first), ("30 days", month)):

                def ask(number: int, start: object = start) -> tuple[str, str]:
                    return _cube_query(number % self.size.organizers + 1, start, last), token

                for number in range(_HOT):
                    path, _ = ask(number)
                    fetch_until(f"{url}{path}", token, lambda found: b"Continue wait" not in found)
                for connections in self.connections:
                    name = f"Cube, revenue, {case}, cached"
                    self.measure(name, url, ask, _HOT, connections, server.pid)

    def _scripts(self) -> dict[str, Path]:
        """Statements for pgbench, each of an organizer drawn at random."""
        first, last = self.size.year
        filled = {"first": f"'{first}'", "last": f"'{last}'"}
        grouped = statement(
            "metrics_by_period",
            dataset="daily_metrics",
            column="business_date",
            metrics=WATERFALL,
            filters=("organizer_id",),
        ).decode()
        year = by_currency(Periods("daily", first, last), WATERFALL, {"organizer_id": 1})
        summed = year.statement.decode()
        scripts: dict[str, Path] = {}
        for case, text in (
            ("pgbench, aggregate of events' days", grouped),
            ("pgbench, organizer's days", summed),
        ):
            names = {**filled, "organizer_id": ":organizer", "organizer_id_asked": ":organizer"}
            plain = [line for line in text.splitlines() if not line.startswith("--")]
            body = " ".join(plain) % names
            path = self.folder / f"{len(scripts)}.sql"
            path.write_text(f"\\set organizer random(1, {self.size.organizers})\n{body};\n")
            scripts[case] = path
        return scripts

    # --- Servers ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _box_office(self, *, cache_seconds: int) -> Iterator[tuple[str, Any]]:
        environment = Deployment(self.settings, self.folder).environment()
        with tempfile.TemporaryDirectory() as metrics:
            environment |= {
                "BOXOFFICE_API_RATE_LIMITS": json.dumps(self.settings.api_rate_limits),
                "BOXOFFICE_API_CACHE_SECONDS": str(cache_seconds),
                "PROMETHEUS_MULTIPROC_DIR": metrics,
            }
            with self._uvicorn("box_office", environment, factory=True) as found:
                yield found

    @contextlib.contextmanager
    def _uvicorn(
        self, application: str, environment: Mapping[str, str], *, factory: bool
    ) -> Iterator[tuple[str, Any]]:
        port = ports.choose(24_600)
        options = ["--workers", str(self.settings.api_workers), "--no-access-log"]
        command: Sequence[str | Path] = [
            *(sys.executable, "-m", "uvicorn", f"bench.api_app:{application}"),
            *(["--factory"] if factory else []),
            *(*options, "--no-server-header", "--no-proxy-headers", "--ws", "none"),
            *("--log-level", "warning", "--host", "127.0.0.1", "--port", str(port)),
        ]
        url = f"http://127.0.0.1:{port}"
        log = self.folder / "uvicorn.log"
        with serving(command, environment, url, log, PROJECT_ROOT) as server:
            time.sleep(1)  # until every worker listens; one of them answered
            yield url, server


def _cube_query(organizer: int, first: object, last: object) -> str:
    query = {
        "measures": [f"DailyMetrics.{name}" for name in WATERFALL],
        "dimensions": ["DailyMetrics.currency"],
        "timeDimensions": [
            {
                "dimension": "DailyMetrics.business_date",
                "granularity": "day",
                "dateRange": [str(first), str(last)],
            }
        ],
        "filters": [
            {
                "member": "DailyMetrics.organizer_id",
                "operator": "equals",
                "values": [str(organizer)],
            }
        ],
    }
    return f"/cubejs-api/v1/load?query={quote(json.dumps(query))}"


def _outside() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CUBEJS_")}


def _installed_cube(folder: Path, reporter: Reporter) -> Path:
    """Install Cube from the npm registry.

    Raises:
        ToolMissingError: Node or npm are not there, or the registry cannot be reached.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise ToolMissingError("node and npm are not installed; leave Cube out with --no-cube")
    shutil.copytree(_CUBE_FOLDER, folder, dirs_exist_ok=True)
    if (folder / "node_modules" / ".bin" / "cubejs-server").exists():
        return folder
    with reporter.step("Installing Cube"):
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ToolMissingError(
            f"npm install failed; leave Cube out with --no-cube.\n{done.stderr[-2000:]}"
        )
    return folder


# --- Tables ---------------------------------------------------------------------------------------


def tables(results: Results, connections: Sequence[int]) -> str:
    """Figures and targets as Markdown."""
    header = ["requests a second (p50, p99 ms)", *map(str, connections), "CPU ms", "KiB"]
    rows = []
    for case, loads in results.loads.items():
        cells = [_shown(loads.get(number)) for number in connections]
        size = max((load.answer_bytes for load in loads.values()), default=0)
        spent = [load.cpu for load in loads.values() if load.cpu is not None]
        cpu = f"{statistics.median(spent):.2f}" if spent else ""
        rows.append([case, *cells, cpu, f"{size / 1024:,.1f}" if size else ""])
    return "\n\n".join([_table(header, rows), _targets(results, connections)])


def _shown(load: Load | None) -> str:
    if load is None:
        return ""
    if load.p99 is None:
        return f"{load.per_second:,.0f}"
    refused = f", {load.refused} of {load.requests:,} refused" if load.refused else ""
    return f"{load.per_second:,.0f} ({load.p50:.1f}, {load.p99:.1f}{refused})"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *("--:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _targets(results: Results, connections: Sequence[int]) -> str:
    rows = []
    daily = "pgbench, aggregate of events' days"
    for number in connections:
        ratio = results.ratio("revenue, 365 days, uncached", daily, number)
        rows.append((f"{number}: uncached over pgbench's daily aggregate", ">= 0.85", ratio, 0.85))
        ratio = results.cheaper("revenue, 365 days, uncached", daily, number)
        rows.append((f"{number}: the same by CPU of the servers", ">= 0.85", ratio, 0.85))
        for days in ("365 days", "30 days"):
            ratio = results.ratio(
                f"revenue, {days}, cached", f"Cube, revenue, {days}, cached", number
            )
            rows.append((f"{number}: cached over Cube cached, {days}", ">= 10", ratio, 10.0))
    shown = [
        [name, wanted, f"{found:.2f}", "holds" if found >= least else "missed"]
        for name, wanted, found, least in rows
        if found is not None
    ]
    for case, loads in results.loads.items():
        load = loads.get(64)
        if load is not None and case.endswith("cached") and "Cube" not in case:
            if load.p99 is None or case.endswith("uncached"):
                continue
            holds = "holds" if load.p99 <= 30 else "missed"
            shown.append([f"64: p99 ms of {case}", "<= 30", f"{load.p99:.1f}", holds])
    for case, sizes in results.worker_bytes.items():
        most = max(sizes) / 2**20
        holds = "holds" if most <= 150 else "missed"
        shown.append([f"MiB of a worker, {case}", "<= 150", f"{most:.0f}", holds])
    return _table(["target", "wanted", "measured", ""], shown)


def main(
    seconds: Annotated[float, typer.Option(help="Length of each case.")] = 5,
    days: Annotated[int, typer.Option(help="Days there are.")] = 400,
    organizers: Annotated[int, typer.Option(help="Organizers.")] = 500,
    events: Annotated[int, typer.Option(help="Events of each, on sale every day.")] = 10,
    cube: Annotated[bool, typer.Option(help="Measure Cube.")] = True,
    only: Annotated[list[str], typer.Option(help="hello, cold, cached or cube.")] = [],  # noqa: B006
    keep: Annotated[Path | None, typer.Option(help="Folder to keep the warehouse in.")] = None,
    output: Annotated[Path, typer.Option(help="Figures as JSON.")] = Path("bench-api.json"),
) -> None:
    """Measure, print tables and write the figures."""
    with tempfile.TemporaryDirectory(prefix="boxoffice-bench-") as temporary:
        folder = keep.resolve() if keep else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        parts = set(only) or {"hello", "cold", "cached", "cube"}
        results = Results()
        size = Size(days, organizers, events)
        try:
            run(folder, size, seconds, parts if cube else parts - {"cube"}, Reporter(), results)
        finally:
            _show(results, output)


def _show(results: Results, output: Path) -> None:
    found = {
        "machine": describe_machine(),
        "command": " ".join(["python -m bench.api", *sys.argv[1:]]),
        **asdict(results),
    }
    output.write_text(json.dumps(found, indent=1, default=str))
    print(tables(results, CONNECTIONS))
    print(f"\nWritten to {output}")


def run(
    folder: Path,
    size: Size,
    seconds: float,
    parts: set[str],
    reporter: Reporter,
    results: Results,
    connections: tuple[int, ...] = CONNECTIONS,
) -> None:
    """Measure some of ``hello``, ``cold``, ``cached`` and ``cube``, into ``results``."""
    warehouse = Warehouse(folder, size)
    with warehouse.running(reporter) as settings:
        pids = tuple(s.pid for s in (warehouse.postgres, warehouse.redis) if s.pid is not None)
        bench = Bench(settings, size, folder, seconds, connections, results, reporter, pids)
        for part in ("hello", "cold", "cached", "cube"):
            if part in parts:
                getattr(bench, part)()


if __name__ == "__main__":
    typer.run(main)
