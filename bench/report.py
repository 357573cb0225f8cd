"""The benchmark's figures as Markdown tables.

Belongs here: formatting and the ratios the targets are about. Does not belong here: measuring.
"""

from __future__ import annotations

import statistics
from typing import Any

from bench.measure import SOURCE

_MIB = 2**20
STAGES = (
    "start",
    "import",
    "definitions",
    "extract",
    "record extraction",
    "movements",
    "daily: compute",
    "daily: publish",
    "weekly: compute",
    "weekly: publish",
    "monthly: compute",
    "monthly: publish",
    "dlt",
    "dbt",
    "rest",
)


def tables(results: dict[str, Any]) -> str:
    """Every table, for the terminal and docs/benchmarks.md."""
    parts = []
    for size in results["sizes"]:
        parts += [
            f"## {size['orders']:,} orders",
            _programs(size),
            _stages(size),
            _ratios(size),
            _single_days(size),
            _ledger(size),
            _plans(size),
        ]
    return "\n\n".join(part for part in parts if part)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *("--:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _programs(size: dict[str, Any]) -> str:
    rows = []
    for name, usage in size["runs"].items():
        count = usage["result"].get("rows")
        cpu = usage["cpu_seconds"]
        rows.append(
            [
                name,
                f"{usage['seconds']:.1f}",
                f"{count:,}" if count else "",
                f"{count / usage['seconds']:,.0f}" if count else "",
                f"{usage['peak_bytes'] / _MIB:,.0f}" if usage["peak_bytes"] else "",
                *(
                    f"{cpu[key]:.1f}" if key in cpu else ""
                    for key in ("worker", SOURCE, "postgres_target", "s3")
                ),
            ]
        )
    header = ["program, days", "seconds", "rows", "rows/s", "peak MiB"]
    return _table([*header, "CPU s: itself", "source", "other Postgres", "S3"], rows)


def _stages(size: dict[str, Any]) -> str:
    runs = {
        name: usage
        for name, usage in size["runs"].items()
        if usage["stages"] and not name.startswith(("single-days", "ledger"))
    }
    if not runs:
        return ""
    rows = []
    for stage in STAGES:
        cells = []
        for usage in runs.values():
            found = usage["stages"].get(stage)
            cells.append(
                f"{found['seconds']:.1f} s, {found['peak_bytes'] / _MIB:,.0f} MiB" if found else ""
            )
        if any(cells):
            rows.append([stage, *cells])
    return _table(["stage", *runs], rows)


def _ratios(size: dict[str, Any]) -> str:
    runs = size["runs"]
    rows = []
    for days in sorted({int(name.rsplit(" ", 1)[1]) for name in runs}):
        dagster = runs.get(f"dagster {days}")
        if dagster is None:
            continue
        for other in ("bare", "dlt connectorx", "dlt pyarrow"):
            if found := runs.get(f"{other} {days}"):
                ratio = dagster["seconds"] / found["seconds"]
                rows.append([f"{days} days: seconds, Dagster / {other}", f"{ratio:.2f}"])
        if classic := runs.get(f"classic {days}"):
            ratio = dagster["cpu_seconds"][SOURCE] / classic["cpu_seconds"][SOURCE]
            rows.append([f"{days} days: CPU of the source, Dagster / classic", f"{ratio:.2f}"])
    return _table(["ratio", ""], rows) if rows else ""


def _single_days(size: dict[str, Any]) -> str:
    runs = [usage for name, usage in size["runs"].items() if name.startswith("single-days")]
    if not runs:
        return ""
    days = runs[0]["result"]["days"]
    rows = [
        [
            day["day"],
            f"{day['rows']:,}",
            f"{day['seconds']:.2f}",
            f"{day['seconds'] / day['rows'] * 1e6:.1f}" if day["rows"] else "",
            *(f"{day['stages'].get(stage, 0):.2f}" for stage in _DAY_STAGES),
        ]
        for day in days
    ]
    middle = statistics.median(day["seconds"] for day in days)
    rows.append(["median", "", f"{middle:.2f}", "", *("" for _ in _DAY_STAGES)])
    return _table(["one day by itself", "rows", "seconds", "µs/row", *_DAY_STAGES], rows)


_DAY_STAGES = ("extract", "movements", "daily: compute", "daily: publish")


def _ledger(size: dict[str, Any]) -> str:
    runs = [usage for name, usage in size["runs"].items() if name.startswith("ledger")]
    if not runs:
        return ""
    stages, result = runs[0]["stages"], runs[0]["result"]
    names = sorted(
        {name.split(": ")[1] for name in stages if name.startswith(("view: ", "stored: "))}
    )
    rows = [
        [
            f"{name}, seconds",
            f"{stages[f'view: {name}']['seconds']:.1f}",
            f"{stages[f'stored: {name}']['seconds']:.1f}",
        ]
        for name in names
    ]
    stored = result["tables"]["movements_stored"]["bytes"]
    raw = sum(
        found["bytes"]
        for name, found in result["tables"].items()
        if name.startswith("raw_") and name != "raw_attendees"
    )
    rows.append(["storing it, seconds", "", f"{stages['store']['seconds']:.1f}"])
    rows.append(["MiB in the lake besides the raw tables", "0", f"{stored / _MIB:,.0f}"])
    rows.append(["MiB of the raw tables", f"{raw / _MIB:,.0f}", f"{raw / _MIB:,.0f}"])
    rows.append(["movements", f"{result['movements']:,}", f"{result['movements']:,}"])
    return _table(["ledger", "view", "stored"], rows)


def _plans(size: dict[str, Any]) -> str:
    plans = size["notes"].get("plans", [])
    rows = [
        [
            plan["fact"],
            f"{plan['rows']:,}",
            f"{plan['buffers']:,}",
            f"{plan['milliseconds']:.1f}",
            ", ".join(f"{node} {index or relation}" for node, relation, index in plan["scans"]),
        ]
        for plan in plans
    ]
    return _table(["one day of", "rows", "pages", "ms", "read by"], rows) if rows else ""
