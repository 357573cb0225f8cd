"""The benchmark runs, and every way it measures comes to the same figures."""

from __future__ import annotations

from pathlib import Path

from bench.pipeline import run
from bench.report import tables


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
