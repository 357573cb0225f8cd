"""The benchmarks run, and every way they measure comes to the same figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bench.platform
from bench.export_report import tables as export_tables
from bench.export_rows import fill_lake, make_rows
from bench.exports import Place
from bench.exports import run as measure_exports
from bench.pipeline import run
from bench.report import tables
from local.progress import Reporter
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
