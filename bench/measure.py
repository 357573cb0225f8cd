"""Measuring processes: wall time and memory by stage, and CPU seconds of whole servers.

Belongs here: clocks, samplers and what they return. Does not belong here: what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

SOURCE = "postgres_source"
_SAMPLE_SECONDS = 0.02
_LOOK_FOR_CHILDREN_SECONDS = 1.0
_CLIENTS_LEAVE_WITHIN_SECONDS = 30.0


@dataclass
class Stages:
    """Named stretches of wall-clock time of this process, for the parent that samples memory."""

    intervals: list[tuple[str, float, float]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note a stretch of time; a stage may have many."""
        began = time.time()
        try:
            yield
        finally:
            self.intervals.append((name, began, time.time()))

    def wrap(self, module: ModuleType, function: str, name: str | Callable[..., str]) -> None:
        """Note every call that a module makes to one of its functions.

        Args:
            name: the stage, or what names it from the call's arguments.
        """
        original = getattr(module, function)

        def timed(*arguments: Any, **named: Any) -> Any:
            stage = name if isinstance(name, str) else name(*arguments, **named)
            with self.stage(stage):
                return original(*arguments, **named)

        setattr(module, function, timed)


@dataclass(frozen=True)
class Stage:
    """What one stage took; ``peak_bytes`` is resident memory, children included."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Usage:
    """What one program took.

    Attributes:
        seconds: from its start to its end, starting Python included.
        peak_bytes: the highest resident memory of the process and its children together.
        cpu_seconds: user and system time, by who spent it: ``worker`` and each server.
        stages: by name; ``start`` is starting Python, ``rest`` what is in no stage.
        result: what the program reports besides.
    """

    seconds: float
    peak_bytes: int
    cpu_seconds: dict[str, float]
    stages: dict[str, Stage]
    result: dict[str, Any]


def server_cpu_seconds(pid: int) -> float:
    """User and system time of a server and of every process it ever started and waited for."""
    process = psutil.Process(pid)
    total = 0.0
    # Children first: one that ends in between is then counted by the parent, at most twice.
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            total += times.user + times.system
    times = process.cpu_times()
    return total + times.user + times.system + times.children_user + times.children_system


def wait_for_clients_to_leave(postgres_pid: int) -> None:
    """Wait until a Postgres has no client connections, so that their CPU time is accounted for.

    Raises:
        TimeoutError: somebody stays connected.
    """
    deadline = time.monotonic() + _CLIENTS_LEAVE_WITHIN_SECONDS
    while clients := _clients(postgres_pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still connected to Postgres {postgres_pid}: {clients}")
        time.sleep(0.05)


def _clients(postgres_pid: int) -> list[str]:
    titles = []
    for child in psutil.Process(postgres_pid).children():
        with suppress(psutil.NoSuchProcess):
            titles.append(" ".join(child.cmdline()))
    return [title for title in titles if "127.0.0.1(" in title]


class _MemorySampler(threading.Thread):
    """Samples the resident memory of a process and its children until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, int]] = []
        self._process = psutil.Process(pid)
        self._stopped = threading.Event()

    def run(self) -> None:
        children: list[psutil.Process] = []
        look_again = 0.0
        while not self._stopped.wait(_SAMPLE_SECONDS):
            with suppress(psutil.NoSuchProcess):
                if time.monotonic() >= look_again:
                    children = self._process.children(recursive=True)
                    look_again = time.monotonic() + _LOOK_FOR_CHILDREN_SECONDS
                resident = self._process.memory_info().rss
                for child in children:
                    with suppress(psutil.NoSuchProcess):
                        resident += child.memory_info().rss
                self.samples.append((time.time(), resident))

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def peak(self, intervals: Sequence[tuple[float, float]]) -> int:
        return max(
            (
                resident
                for at, resident in self.samples
                if any(began <= at <= ended for began, ended in intervals)
            ),
            default=0,
        )


def run_program(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    report: Path,
    log: Path,
    servers: Mapping[str, int],
    directory: Path | None = None,
) -> Usage:
    """Run a program that writes ``write_report`` when done, and measure it and the servers.

    Args:
        report: the file the program writes.
        log: where its output goes.
        servers: process id by name; ``SOURCE`` is a Postgres that only the program is connected to.

    Raises:
        RuntimeError: it failed; the message has the end of its log.
    """
    report.unlink(missing_ok=True)
    if SOURCE in servers:
        wait_for_clients_to_leave(servers[SOURCE])
    before = {name: server_cpu_seconds(pid) for name, pid in servers.items()}
    began = time.time()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=dict(environment), stdout=output, stderr=output, cwd=directory
        )
    sampler = _MemorySampler(process.pid)
    sampler.start()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ended = time.time()
    sampler.stop()
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        raise RuntimeError(f"{command} ended with {process.returncode}. End of {log}:\n{tail}")
    if SOURCE in servers:
        wait_for_clients_to_leave(servers[SOURCE])
    cpu = {name: server_cpu_seconds(pid) - before[name] for name, pid in servers.items()}
    cpu["worker"] = used.ru_utime + used.ru_stime
    reported = json.loads(report.read_text())
    return Usage(
        seconds=ended - began,
        peak_bytes=max(sampler.peak([(began, ended)]), reported["peak_bytes"]),
        cpu_seconds=cpu,
        stages=_stages(reported, sampler, began, ended),
        result=reported["result"],
    )


def _stages(
    reported: dict[str, Any], sampler: _MemorySampler, began: float, ended: float
) -> dict[str, Stage]:
    by_name: dict[str, list[tuple[float, float]]] = {"start": [(began, reported["began"])]}
    for name, start, end in reported["intervals"]:
        by_name.setdefault(name, []).append((start, end))
    stages = {
        name: Stage(sum(end - start for start, end in intervals), sampler.peak(intervals))
        for name, intervals in by_name.items()
    }
    rest = (ended - began) - sum(stage.seconds for stage in stages.values())
    return stages | {"rest": Stage(rest, sampler.peak([(began, ended)]))}


def write_report(path: Path, began: float, stages: Stages, result: Mapping[str, Any]) -> None:
    """Report to ``run_program`` from inside the program.

    Args:
        began: when the program's own code began, as ``time.time()``.
    """
    path.write_text(
        json.dumps(
            {
                "began": began,
                "intervals": stages.intervals,
                "peak_bytes": _high_water_mark(),
                "result": result,
            }
        )
    )


def _high_water_mark() -> int:
    """Highest resident memory of this process, exact where the system keeps it, else 0."""
    if not sys.platform.startswith("linux"):
        return 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
