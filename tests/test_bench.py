"""The benchmarks run, and every way they measure comes to the same figures."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest

import bench.platform
from api.app import create_app
from api.routes.admin_examples import WATERFALL
from bench.api_cases import Case, FiguresDifferError, compare, in_rows, in_series, organizer
from bench.api_load import Load
from bench.api_peers import AMOUNTS
from bench.api_report import Results
from bench.api_report import tables as api_tables
from bench.api_warehouse import Size, fill, statement
from bench.export_report import tables as export_tables
from bench.export_rows import fill_lake, make_rows
from bench.exports import Place
from bench.exports import run as measure_exports
from bench.pipeline import run
from bench.report import tables
from local.progress import Reporter
from pipelines.settings import Settings
from tests.api_client import Client, api_settings, with_client
from tests.deployment import Deployment


def test_the_benchmark_runs_and_its_ways_agree_to_the_cent(tmp_path: Path) -> None:
    results = run(
        tmp_path, orders=[10_000], days=[5], months=2, parts={"dagster", "bare", "classic", "plans"}
    )
    (size,) = results["sizes"]
    # The run itself refuses figures that differ; here is that all three were compared.
    assert size["notes"]["same figures 5"] == ["bare", "classic", "dagster"]
    runs = size["runs"]
    assert runs["dagster 5"]["result"]["rows"] == runs["bare 5"]["result"]["rows"] > 1_000
    assert runs["classic 5"]["result"]["rows"] > 100
    for name in ("dagster 5", "bare 5"):
        stages = runs[name]["stages"]
        assert {"extract", "movements", "daily: compute", "weekly: publish"} <= stages.keys()
        assert sum(stage["seconds"] for stage in stages.values()) <= runs[name]["seconds"] + 0.01
        assert runs[name]["peak_bytes"] > stages["extract"]["peak_bytes"] / 2 > 0
    assert "| dagster 5 |" in tables(results)


def test_exports_are_measured_from_the_lake_to_s3_beside_what_postgres_and_python_bring(
    make_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = make_deployment()
    settings = deployment.settings
    events = make_rows(deployment.source_owner_url, [150, 300])
    fill_lake(deployment.lake, settings.source_url.get_secret_value())
    environment = bench.platform.Deployment(settings, tmp_path).environment()
    place = Place(settings, environment, tmp_path, node=None, servers={})
    (case,) = measure_exports(place, events, [("csv", 300)], 1, Reporter())
    product, copy = case["runs"]["Box Office"][0], case["runs"]["COPY TO STDOUT"][0]
    # Each run was refused unless it had 300 rows and its object was complete.
    assert copy["result"]["rows"] == product["result"]["rows"] == 300
    assert product["result"]["libraries_bytes"] < product["peak_bytes"]
    assert product["stages"]["render"]["seconds"] < product["seconds"]
    printed = export_tables({"cases": [case]})
    assert "| csv, 300: **Box Office** |" in printed
    assert "| csv, 300: MiB for rendering | <= 256 |" in printed


def test_the_read_api_is_measured_on_rows_that_add_up_and_beside_the_same_json(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> None:
    settings = api_settings(make_settings, fresh_database, role_url)
    warehouse_url = settings.warehouse_url.get_secret_value()
    size = Size(days=40, organizers=3, events=2)
    fill(warehouse_url, size)
    first, last = size.year
    answers: list[bytes] = []

    async def ask(client: Client) -> None:
        url = f"/api/v1/admin/analytics/revenue?organizer=2&from={first}&to={last}"
        answer = await client.get(url, headers=client.as_())
        assert answer.status_code == 200, answer.text
        answers.append(answer.content)

    with_client(settings, ask, create_app(settings))
    assert settings.warehouse_owner_url is not None
    with psycopg.connect(settings.warehouse_owner_url.get_secret_value()) as connection:
        connection.execute(statement("postgrest", metrics=WATERFALL, money=AMOUNTS))
    assert settings.warehouse_reader_url is not None
    with psycopg.connect(settings.warehouse_reader_url.get_secret_value()) as connection:
        connection.execute("SET ROLE boxoffice_admin_reader")
        (revenue,) = connection.execute(
            "SELECT postgrest.revenue(2, %s, %s)", (first, last)
        ).fetchone() or (None,)
        (rows,) = connection.execute(
            "SELECT json_agg(v)::text FROM postgrest.organizer_days AS v WHERE organizer_id = 2"
        ).fetchone() or ("",)
    summed = json.loads(answers[0])["data"]
    assert revenue == summed
    assert summed[0]["totals"]["tickets_sold"] > 0
    days = in_series(answers[0])
    assert len(days) == 40
    assert in_series(json.dumps(revenue).encode()) == days
    assert in_rows(rows.encode()) == days

    # Whoever says of one organizer what is another's is refused before it is measured.
    case = Case("revenue", lambda _: ("/", ""), in_series, first)
    assert organizer(0, size) != 2
    with _saying(answers[0]) as url, pytest.raises(FiguresDifferError, match="SQL says"):
        compare([case], url, warehouse_url, size)


@contextmanager
def _saying(answer: bytes) -> Iterator[str]:
    """A server with one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_targets_of_the_read_api_are_judged_by_medians_of_the_rounds() -> None:
    results = Results()
    results.add("pgbench, aggregate of events' days", 16, Load(100, None, None, cpu=10.0))
    for rate, cpu in ((80, 11.0), (10, 99.0), (90, 5.0)):
        load = Load(rate, 1.0, 9.0, 2048, cpu=cpu, others=cpu / 100)
        results.add("revenue, 365 days, uncached", 16, load)
    results.add("PostgREST, revenue, 365 days", 16, Load(50, 1.0, 9.0, cpu=20.0))
    results.add("revenue, 30 days, cached", 64, Load(900, 1.0, 31.0))
    results.add("PostgREST, revenue, 30 days", 64, Load(0, None, None))
    printed = api_tables(results, (16, 64))
    assert "| revenue, 365 days, uncached | 80 (1.0, 9.0) |  | 11.00 | 0.99 | 2.0 |" in printed
    assert "| 16: uncached over pgbench's daily aggregate | >= 0.85 | 0.80 | missed |" in printed
    assert "| 16: the same by CPU of the servers, over pgbench" in printed
    assert "| >= 0.85 | 0.91 | holds |" in printed
    assert (
        "| 16: uncached over PostgREST, the same JSON, 365 days | >= 1.3 | 1.60 | holds |"
        in printed
    )
    assert "| 64: p99 ms of revenue, 30 days, cached | <= 30 | 31.0 | missed |" in printed
    # Nothing is said of a server that answered nothing in time.
    assert "PostgREST, the same JSON, 30 days" not in printed
