"""Benchmark of exports beside csv-writer, exceljs, pdfkit, Python's json and Postgres' COPY.

Belongs here: what is measured and in which order. Does not belong here: the rows
(``bench.export_rows``), the programs (``bench.export_worker``, ``bench/node``), measuring
(``bench.measure``) or tables (``bench.export_report``).

    python -m bench.exports

Every program is a fresh process that reads the rows, renders them and has the file complete in S3
when it ends. Needs Node 20 or newer and npm for the three libraries it is compared with.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer

from bench.export_report import tables
from bench.export_rows import COLUMNS, event_query, fill_lake, make_rows
from bench.measure import Usage, run_program
from bench.pipeline import describe_machine
from bench.platform import Servers, Source
from exports.datasets import EXPORTS
from exports.formats.registry import FORMATS
from local.progress import Reporter
from local.provision import provision
from pipelines.definitions import build_lake
from pipelines.settings import PROJECT_ROOT, Settings

ROWS = (100_000, 1_000_000)
PDF_ROWS = (10_000, 100_000)
_NODE_FOLDER = Path(__file__).parent / "node"
_FONTS = PROJECT_ROOT / "exports" / "formats" / "fonts"
_WIDTHS = (1, 1, 2, 1.3, 0.8, 2, 2.2, 1.3, 1, 0.8, 2, 2)


class NodeMissingError(RuntimeError):
    """The libraries to compare with cannot be installed; the message says what is missing."""


@dataclass(frozen=True)
class Program:
    """One way to make a file.

    Attributes:
        name: in the tables.
        task: of ``bench.export_worker``, or the script of ``bench/node`` without its extension.
        node: whether it is such a script.
    """

    name: str
    task: str
    node: bool = False


PRODUCT = Program("Box Office", "product")
TABLE = Program("Box Office, from a table", "table")
OTHERS = {
    "csv": (
        Program("csv-writer", "csv-file", node=True),
        Program("csv-writer, arrays streamed", "csv-stream", node=True),
        Program("COPY TO STDOUT", "copy"),
    ),
    "xlsx": (Program("exceljs", "xlsx", node=True),),
    "pdf": (Program("pdfkit", "pdf", node=True),),
    "json": (Program("Python json", "python-json"),),
}


@dataclass(frozen=True)
class Place:
    """Where everything of a measurement is.

    Attributes:
        settings: of the deployment that is measured.
        environment: of the Python programs.
        folder: for jobs, reports and logs.
        node: folder with the installed libraries; None to leave those programs out.
        servers: process id by name, for their CPU time.
    """

    settings: Settings
    environment: Mapping[str, str]
    folder: Path
    node: Path | None
    servers: Mapping[str, int]


def install_node(folder: Path, reporter: Reporter) -> Path:
    """Install the pinned libraries from the npm registry into a folder.

    Raises:
        NodeMissingError: Node or npm are not there, or the registry cannot be reached.
    """
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            raise NodeMissingError(
                f"{command} is not installed: install Node 20 or newer, or leave the Node"
                " libraries out with --no-node"
            )
    lock = folder / "package-lock.json"
    wanted = (_NODE_FOLDER / "package-lock.json").read_bytes()
    installed = lock.exists() and lock.read_bytes() == wanted and (folder / "node_modules").exists()
    shutil.copytree(_NODE_FOLDER, folder, dirs_exist_ok=True)
    if installed:
        return folder
    with reporter.step("Installing csv-writer, exceljs and pdfkit"):
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise NodeMissingError(
            f"npm ci failed; leave the Node libraries out with --no-node.\n{done.stderr[-2000:]}"
        )
    return folder


def versions(node: Path | None) -> dict[str, str]:
    """Of what is measured."""
    found = {name: metadata.version(name) for name in ("polars", "pyarrow", "duckdb", "isal")}
    if node is not None:
        found["node"] = subprocess.run(
            ["node", "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
        wanted = json.loads((node / "package.json").read_text())["dependencies"]
        found |= {name: wanted[name] for name in ("csv-writer", "exceljs", "pdfkit", "pg")}
    return found


def programs(form: str, place: Place, *, with_table: bool) -> list[Program]:
    """Every way to make a file of a format; the product first."""
    others = [p for p in OTHERS.get(form, ()) if place.node is not None or not p.node]
    return [PRODUCT, *([TABLE] if with_table else []), *others]


def measure(program: Program, form: str, event: int, rows: int, place: Place) -> Usage:
    """Run one program in a fresh process.

    Raises:
        AssertionError: it wrote another number of rows, or the object is not complete.
    """
    settings = place.settings
    key = f"exports/bench/{program.task}.{form}"
    report = place.folder / "report.json"
    job = {
        "program": program.task,
        "format": form,
        "content_type": FORMATS[form].content_type,
        "event": event,
        "bucket": settings.exports_bucket,
        "key": key,
        "report": str(report),
        "database_url": settings.source_url.get_secret_value(),
        "query": event_query(event),
    }
    if program.node:
        job |= _for_node(settings)
    path = place.folder / "job.json"
    path.write_text(json.dumps(job))
    path.chmod(0o600)
    if program.node:
        command = ["node", f"{place.node}/{program.task}.mjs", str(path)]
    else:
        command = [sys.executable, "-m", "bench.export_worker", str(path)]
    log = place.folder / "log"
    usage = run_program(
        command, place.environment, report, log, place.servers, directory=PROJECT_ROOT
    )
    store = _client(settings)
    size = store.head_object(Bucket=settings.exports_bucket, Key=key)["ContentLength"]
    store.delete_object(Bucket=settings.exports_bucket, Key=key)
    if usage.result["rows"] != rows or usage.result.get("bytes", size) != size or not size:
        raise AssertionError(f"{program.name}: {usage.result} of {rows:,} rows; {size:,} bytes")
    usage.result["bytes"] = size
    return usage


def _for_node(settings: Settings) -> dict[str, object]:
    headers = [EXPORTS["attendees"].by_name[name].header for name in COLUMNS]
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    return {
        "columns": COLUMNS,
        "headers": headers,
        "widths": _WIDTHS,
        "money": COLUMNS.index("charged"),
        "integers": [COLUMNS.index(name) for name in ("ticket_id", "order_id")],
        "instants": [COLUMNS.index(name) for name in ("issued_at", "checked_in_at")],
        "fonts": {
            "regular": str(_FONTS / "NotoSans-Regular.ttf"),
            "bold": str(_FONTS / "NotoSans-Bold.ttf"),
            "arabic": str(_FONTS / "NotoSansArabic-Regular.ttf"),
            "ethiopic": str(_FONTS / "NotoSansEthiopic-Regular.ttf"),
        },
        "s3": {
            "endpoint": settings.s3_endpoint_url,
            "region": settings.s3_region,
            "access_key_id": key.get_secret_value() if key else None,
            "secret_access_key": secret.get_secret_value() if secret else None,
        },
    }


def _client(settings: Settings) -> Any:
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        region_name=settings.s3_region,
        aws_access_key_id=key.get_secret_value() if key else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
    )


def run(
    place: Place,
    events: Mapping[int, int],
    cases: list[tuple[str, int]],
    rounds: int,
    reporter: Reporter,
    *,
    with_table: bool = False,
) -> list[dict[str, Any]]:
    """Measure every way of every case, in turn within each round.

    Args:
        events: size → event.
        cases: format and size.
    """
    results = []
    for form, rows in cases:
        ways = programs(form, place, with_table=with_table)
        runs: dict[str, list[Usage]] = {way.name: [] for way in ways}
        for number in range(1, rounds + 1):
            for way in ways:
                title = f"{form}, {rows:,} rows, {number} of {rounds}: {way.name}"
                with reporter.step(title) as step:
                    usage = measure(way, form, events[rows], rows, place)
                    step.detail = f"{usage.seconds:.2f} s, {usage.peak_bytes / 2**20:.0f} MiB"
                runs[way.name].append(usage)
            _compare(runs)
        results.append(
            {
                "format": form,
                "content_type": FORMATS[form].content_type,
                "rows": rows,
                "runs": {name: [asdict(usage) for usage in used] for name, used in runs.items()},
            }
        )
    return results


def _compare(runs: Mapping[str, list[Usage]]) -> None:
    """The same rows in one format make files of about one size.

    Raises:
        AssertionError: a file is less than half as large as another one.
    """
    sizes = {name: used[-1].result["bytes"] for name, used in runs.items()}
    if min(sizes.values()) * 2 < max(sizes.values()):
        raise AssertionError(f"one of them has left something out: {sizes}")


def main(
    rows: Annotated[list[int], typer.Option(help="Rows of each format but PDF.")] = list(ROWS),  # noqa: B006
    pdf_rows: Annotated[list[int], typer.Option(help="Rows of PDF.")] = list(PDF_ROWS),  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1, help="How often each program runs.")] = 3,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Only these formats: {', '.join(FORMATS)}.")
    ] = None,
    node: Annotated[bool, typer.Option(help="Compare with the Node libraries.")] = True,
    table: Annotated[bool, typer.Option(help="Also the product's writers on a table.")] = False,
    memory_limit: Annotated[str | None, typer.Option(help="DuckDB's, of the product.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Folder for servers and libraries.")] = None,
    output: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path(
        "bench-exports.json"
    ),
) -> None:
    """Measure exports; prints tables and writes a JSON file."""
    if unknown := set(only or ()) - set(FORMATS):
        raise typer.BadParameter(f"unknown formats: {', '.join(sorted(unknown))}")
    reporter = Reporter()
    cases = [
        (form, size)
        for form in FORMATS
        if not only or form in only
        for size in sorted(pdf_rows if form == "pdf" else rows)
    ]
    with tempfile.TemporaryDirectory(prefix="boxoffice-bench-") as temporary:
        folder = keep.resolve() if keep else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        installed = install_node(folder / "node", reporter) if node else None
        servers = Servers(folder, 0, 0)
        overrides = {"exports_memory_limit": memory_limit} if memory_limit else {}
        with servers.running():
            source = Source(servers.source, 0, {}, 0, 0)
            provision(servers.source)
            with reporter.step("Making rows"):
                events = make_rows(source.url(), sorted({size for _, size in cases}))
            deployment = servers.deploy(source, date(2026, 1, 1), **overrides)
            with reporter.step("Filling the lake"):
                fill_lake(
                    build_lake(deployment.settings),
                    deployment.settings.source_url.get_secret_value(),
                )
            place = Place(
                deployment.settings,
                deployment.environment(),
                deployment.folder,
                installed,
                servers.pids(),
            )
            results = {
                "machine": describe_machine(),
                "memory_limit": deployment.settings.exports_memory_limit,
                "versions": versions(installed),
                "command": " ".join(["python -m bench.exports", *sys.argv[1:]]),
                "cases": run(place, events, cases, rounds, reporter, with_table=table),
            }
    output.write_text(json.dumps(results, indent=1, default=str))
    print(tables(results))
    print(f"\nWritten to {output}")


if __name__ == "__main__":
    typer.run(main)
