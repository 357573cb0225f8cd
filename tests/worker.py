"""A run in a process of its own, as Dagster's launcher makes it, that a test may end or hold up.

The process is forked from one that has imported everything, so that a test waits for the run and
not for imports.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from pipelines.settings import Settings
from tests.deployment import Deployment
from warehouse import faults
from warehouse.faults import FaultPoint

_LATE_IMPORTS = (
    "dagster._core.execution.execute_in_process",
    "dagster._core.launcher.default_run_launcher",
    "dagster._core.run_coordinator.default_run_coordinator",
    "dagster._core.scheduler.scheduler",
    "dagster._core.storage.noop_compute_log_manager",
    "dagster._core.storage.root",
    "psycopg2.extras",
    "pyarrow.dataset",
    "resources.dagster_storage",
    "sqlalchemy.dialects.postgresql",
    "upath.implementations.local",
)
"""What Dagster imports only once a run has begun: a third of a run's start."""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.worker", *_LATE_IMPORTS])


class Worker:
    """A run that is killed, or held, when it reaches a fault point."""

    def __init__(self, process: ForkServerProcess, reached: Event, go_on: Event) -> None:
        self._process = process
        self._reached = reached
        self._go_on = go_on

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return self._process.exitcode

    def wait_until_reached(self, timeout_seconds: float = 60) -> None:
        assert self._reached.wait(timeout_seconds), f"never reached; exit code {self.exit_code}"

    def go_on(self) -> None:
        self._go_on.set()

    def kill_after(self, seconds: float) -> None:
        """Kill it then, unless it has ended by itself."""
        self._process.join(seconds)
        self._process.kill()
        self._process.join()

    def wait(self, timeout_seconds: float = 120) -> int:
        self._process.join(timeout_seconds)
        assert self._process.exitcode is not None, "the run did not end"
        return self._process.exitcode


def start(
    deployment: Deployment,
    job: str,
    first: str,
    last: str,
    *,
    assets: Sequence[str] | None = None,
    kill_at: FaultPoint | None = None,
    hold_at: FaultPoint | None = None,
) -> Worker:
    """Start a run; at ``kill_at`` it is killed, at ``hold_at`` it waits for ``go_on``."""
    reached, go_on = _CONTEXT.Event(), _CONTEXT.Event()
    process = _CONTEXT.Process(
        target=_run,
        args=(
            (deployment.settings, deployment.source_owner_url, deployment.folder),
            (job, first, last, assets),
            (kill_at, hold_at),
            (reached, go_on),
        ),
    )
    process.start()
    return Worker(process, reached, go_on)


def _run(
    state: tuple[Settings, str, Path],
    run: tuple[str, str, str, Sequence[str] | None],
    points: tuple[FaultPoint | None, FaultPoint | None],
    events: tuple[Event, Event],
) -> None:
    kill_at, hold_at = points
    reached, go_on = events

    def hold() -> None:
        if not reached.is_set():  # later partitions and retries are not held
            reached.set()
            go_on.wait()

    if kill_at is not None:
        faults.arm(kill_at, _kill)
    if hold_at is not None:
        faults.arm(hold_at, hold)
    settings, url, folder = state
    job, first, last, assets = run
    Deployment(settings, url, folder).run(job, first, last, assets=assets)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
