"""The export benchmark's figures as Markdown tables.

Belongs here: medians, ratios and the targets they are about. Does not belong here: measuring.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.measure import SOURCE

_MIB = 2**20
_PRODUCT = "Box Office"
_RENDERING_MIB = 256

Runs = list[dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """How many times as fast the product has to be; of which format, over whom."""

    form: str
    other: str
    times: float
    rows: int | None = None
    memory: float | None = None


TARGETS = (
    Target("csv", "csv-writer", 5),
    Target("csv", "csv-writer, arrays streamed", 5),
    Target("xlsx", "exceljs", 4, memory=1 / 3),
    Target("pdf", "pdfkit", 1.5, rows=10_000),
    Target("pdf", "pdfkit", 4, rows=100_000),
    Target("json", "Python json", 4),
)


def tables(results: dict[str, Any]) -> str:
    """Every table, for the terminal and docs/benchmarks.md."""
    cases = results["cases"]
    return "\n\n".join([_programs(cases), _targets(cases)])


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *("--:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _median(runs: Runs, figure: Callable[[dict[str, Any]], float]) -> float:
    return statistics.median(figure(run) for run in runs)


def seconds(run: dict[str, Any]) -> float:
    """From the start of the process to its end."""
    return float(run["seconds"])


def peak(run: dict[str, Any]) -> float:
    """Highest resident memory of the process and its children, in bytes."""
    return float(run["peak_bytes"])


def rendering(run: dict[str, Any]) -> float:
    """Memory on top of what the process has with every library loaded and no row read."""
    return float(run["peak_bytes"] - run["result"]["libraries_bytes"])


def _programs(cases: list[dict[str, Any]]) -> str:
    rows = []
    for case in cases:
        for name, runs in case["runs"].items():
            took = _median(runs, seconds)
            measured = "libraries_bytes" in runs[0]["result"]
            bold = "**" if name == _PRODUCT else ""
            rows.append(
                [
                    f"{case['format']}, {case['rows']:,}: {bold}{name}{bold}",
                    f"{took:.2f}",
                    f"{min(seconds(run) for run in runs):.2f}",
                    f"{case['rows'] / took:,.0f}",
                    f"{_median(runs, peak) / _MIB:,.0f}",
                    f"{_median(runs, rendering) / _MIB:,.0f}" if measured else "",
                    f"{_median(runs, lambda run: run['cpu_seconds']['worker']):.1f}",
                    f"{_median(runs, lambda run: run['cpu_seconds'].get(SOURCE, 0)):.1f}",
                    f"{_median(runs, lambda run: run['cpu_seconds'].get('s3', 0)):.1f}",
                    f"{runs[0]['result']['bytes'] / _MIB:,.1f}",
                ]
            )
    header = ["format, rows: program", "seconds", "least", "rows/s", "peak MiB", "of it rendering"]
    return _table([*header, "CPU s: itself", "Postgres", "S3", "file MiB"], rows)


def _targets(cases: list[dict[str, Any]]) -> str:
    rows = []
    for case in cases:
        ours = case["runs"][_PRODUCT]
        what = f"{case['format']}, {case['rows']:,}"
        for target in TARGETS:
            applies = target.form == case["format"] and target.rows in (None, case["rows"])
            if not applies or target.other not in case["runs"]:
                continue
            theirs = case["runs"][target.other]
            ratios = [seconds(b) / seconds(a) for a, b in zip(ours, theirs, strict=True)]
            times, spread = statistics.median(ratios), f"{min(ratios):.1f} to {max(ratios):.1f}"
            rows.append(
                [
                    f"{what}: times as fast as {target.other}",
                    f">= {target.times:g}",
                    f"{times:.1f} ({spread}; by CPU {_cpu(ours, theirs):.1f})",
                    _verdict(times >= target.times),
                ]
            )
            if target.memory is not None:
                share = _median(ours, peak) / _median(theirs, peak)
                rows.append(
                    [
                        f"{what}: memory over that of {target.other}",
                        f"<= {target.memory:.2f}",
                        f"{share:.2f}",
                        _verdict(share <= target.memory),
                    ]
                )
        used = _median(ours, rendering) / _MIB
        rows.append(
            [
                f"{what}: MiB for rendering",
                f"<= {_RENDERING_MIB}",
                f"{used:,.0f}",
                _verdict(used <= _RENDERING_MIB),
            ]
        )
    return _table(["target", "wanted", "measured: median of pairs", ""], rows)


def _cpu(ours: Runs, theirs: Runs) -> float:
    """The same ratio in CPU seconds of the two processes: steadier on a busy machine."""
    return statistics.median(
        b["cpu_seconds"]["worker"] / a["cpu_seconds"]["worker"]
        for a, b in zip(ours, theirs, strict=True)
    )


def _verdict(held: bool) -> str:
    return "holds" if held else "missed"
