"""The benchmarks run, and every way they measure comes to the same figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bench.platform
from api.app import ROUTERS, create_app
from bench import api_app
from bench.api import Results
from bench.api import tables as api_tables
from bench.api_load import Load
from bench.api_warehouse import Size, fill
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


def test_the_read_api_is_measured_on_rows_that_add_up(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> None:
    settings = api_settings(make_settings, fresh_database, role_url)
    size = Size(days=40, organizers=3, events=2)
    fill(settings.warehouse_url.get_secret_value(), size)
    first, last = size.year

    async def ask(client: Client) -> None:
        answers = []
        for path in ("summed", "grouped"):
            url = f"/bench/{path}?organizer=2&from={first}&to={last}"
            answer = await client.get(url, headers=client.as_())
            assert answer.status_code == 200, answer.text
            answers.append(answer.json()["data"])
        summed, grouped = answers
        for point in (summed[0]["totals"], *summed[0]["points"]):
            del point["aov"]  # the other one has none
        assert summed == grouped
        assert len(summed[0]["points"]) == 40
        assert summed[0]["totals"]["tickets_sold"] > 0

    with_client(settings, ask, create_app(settings, (*ROUTERS, api_app.router)))
    results = Results()
    results.add("pgbench, aggregate of events' days", 16, Load(100, None, None, cpu=10.0))
    results.add("revenue, 365 days, uncached", 16, Load(80, 1.0, 9.0, 2048, cpu=11.0))
    results.add("revenue, 30 days, cached", 64, Load(900, 1.0, 31.0))
    printed = api_tables(results, (16, 64))
    assert "| revenue, 365 days, uncached | 80 (1.0, 9.0) |  | 11.00 | 2.0 |" in printed
    assert "| 16: uncached over pgbench's daily aggregate | >= 0.85 | 0.80 | missed |" in printed
    assert "| 16: the same by CPU of the servers | >= 0.85 | 0.91 | holds |" in printed
    assert "| 64: p99 ms of revenue, 30 days, cached | <= 30 | 31.0 | missed |" in printed
