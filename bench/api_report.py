"""The read API benchmark's figures as Markdown tables.

Belongs here: medians, ratios and the targets they are about. Does not belong here: measuring.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.api_load import Load

_UNCACHED = "revenue, 365 days, uncached"
_DAYS = ("365 days", "30 days")
_DAILY = "pgbench, aggregate of events' days"
_LEAST: tuple[tuple[str, str, str, float], ...] = (
    ("uncached over pgbench's daily aggregate", _UNCACHED, _DAILY, 0.85),
    *(
        (f"cached over Cube cached, {days}", f"revenue, {days}, cached", cube, 10.0)
        for days in _DAYS
        for cube in [f"Cube, revenue, {days}, cached"]
    ),
    *(
        (f"{kind} over PostgREST, the same JSON, {days}", f"revenue, {days}, {kind}", rest, 1.3)
        for days in _DAYS
        for rest in [f"PostgREST, revenue, {days}"]
        for kind in ("uncached", "cached")
    ),
    (
        "uncached over PostgREST, plain rows, 365 days",
        _UNCACHED,
        "PostgREST, revenue, 365 days, as rows",
        1.3,
    ),
)
"""What is to be at least so many times as fast as what."""
_CPU = ((_DAILY, 0.85), ("PostgREST, revenue, 365 days", 1.3))
_MOST_P99 = 30.0
_MOST_MIB = 150


@dataclass
class Results:
    """Figures by case and number of connections, one for each round, in order."""

    loads: dict[str, dict[int, list[Load]]] = field(default_factory=dict)
    worker_bytes: dict[str, list[int]] = field(default_factory=dict)
    machine_load: dict[str, str] = field(default_factory=dict)

    def add(self, case: str, connections: int, load: Load) -> None:
        """Keep one figure."""
        self.loads.setdefault(case, {}).setdefault(connections, []).append(load)

    def median(self, case: str, connections: int) -> Load | None:
        """Medians of the rounds, each figure by itself; None where it was not measured.

        Refused and others' cores are the worst of the rounds.
        """
        loads = self.loads.get(case, {}).get(connections)
        if not loads:
            return None
        return Load(
            statistics.median(load.per_second for load in loads),
            _median([load.p50 for load in loads]),
            _median([load.p99 for load in loads]),
            max(load.answer_bytes for load in loads),
            max(load.load_average for load in loads),
            sum(load.requests for load in loads),
            _median([load.cpu for load in loads]),
            sum(load.refused for load in loads),
            max((load.others for load in loads if load.others is not None), default=None),
        )

    def cheaper(self, case: str, other: str, connections: int) -> float | None:
        """Processor time of another one over that of one; None where one was not measured."""
        mine, theirs = self.median(case, connections), self.median(other, connections)
        if mine is None or theirs is None or mine.cpu is None or theirs.cpu is None:
            return None
        return theirs.cpu / max(mine.cpu, 1e-9)

    def ratio(self, case: str, other: str, connections: int) -> float | None:
        """Requests a second of one over those of another; None where one was not measured."""
        mine, theirs = self.median(case, connections), self.median(other, connections)
        if mine is None or theirs is None or not theirs.per_second:
            return None
        return mine.per_second / theirs.per_second


def _median(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


# --- Tables -------------------------------------------------------------------------------------


def tables(results: Results, connections: Sequence[int]) -> str:
    """Figures and targets as Markdown."""
    header = ["requests a second (p50, p99 ms)", *map(str, connections)]
    header += ["CPU ms", "others' cores", "KiB"]
    rows = []
    for case in results.loads:
        medians = [results.median(case, number) for number in connections]
        loads = [load for load in medians if load is not None]
        spent = _median([load.cpu for load in loads])
        others = max((load.others for load in loads if load.others is not None), default=None)
        size = max((load.answer_bytes for load in loads), default=0)
        rows.append(
            [
                case,
                *map(_shown, medians),
                "" if spent is None else f"{spent:.2f}",
                "" if others is None else f"{others:.2f}",
                f"{size / 1024:,.1f}" if size else "",
            ]
        )
    parts = [_table(header, rows), _targets(results, connections)]
    parts += [f"Machine {when}: {load}" for when, load in results.machine_load.items()]
    return "\n\n".join(parts)


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
    shown = []

    def at_least(name: str, found: float | None, least: float) -> None:
        if found is not None:
            holds = "holds" if found >= least else "missed"
            shown.append([name, f">= {least:g}", f"{found:.2f}", holds])

    for number in connections:
        for name, case, other, least in _LEAST:
            at_least(f"{number}: {name}", results.ratio(case, other, number), least)
        for other, least in _CPU:
            name = f"{number}: the same by CPU of the servers, over {other}"
            at_least(name, results.cheaper(_UNCACHED, other, number), least)
    for case in results.loads:
        load = results.median(case, 64)
        if load is None or load.p99 is None or "Cube" in case or not case.endswith(", cached"):
            continue
        holds = "holds" if load.p99 <= _MOST_P99 else "missed"
        shown.append([f"64: p99 ms of {case}", f"<= {_MOST_P99:g}", f"{load.p99:.1f}", holds])
    for case, sizes in results.worker_bytes.items():
        most = max(sizes) / 2**20
        holds = "holds" if most <= _MOST_MIB else "missed"
        shown.append([f"MiB of a worker, {case}", f"<= {_MOST_MIB}", f"{most:.0f}", holds])
    return _table(["target", "wanted", "measured", ""], shown)
