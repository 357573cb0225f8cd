"""One attempt at an export in a process of its own, that a test may kill or hold."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from uuid import UUID

from exports.attempt import attempt_export
from pipelines.definitions import build_exporter
from pipelines.settings import Settings
from warehouse import faults
from warehouse.faults import ExportFaultPoint

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.export_worker"])


class Attempt:
    """An attempt under way."""

    def __init__(self, process: ForkServerProcess, reached: Event, go_on: Event) -> None:
        self._process = process
        self._reached = reached
        self._go_on = go_on

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def wait_until_reached(self, timeout_seconds: float = 60) -> None:
        assert self._reached.wait(timeout_seconds), f"never reached: {self._process.exitcode}"

    def go_on(self) -> None:
        self._go_on.set()

    def wait(self, timeout_seconds: float = 120) -> int:
        self._process.join(timeout_seconds)
        assert self._process.exitcode is not None, "the attempt did not end"
        return self._process.exitcode


def start(
    settings: Settings,
    job_id: UUID,
    attempt: int,
    *,
    kill_at: ExportFaultPoint | None = None,
    hold_at: ExportFaultPoint | None = None,
) -> Attempt:
    """Start an attempt; at ``kill_at`` it is killed, at ``hold_at`` it waits for ``go_on``."""
    reached, go_on = _CONTEXT.Event(), _CONTEXT.Event()
    process = _CONTEXT.Process(
        target=_run, args=(settings, job_id, attempt, (kill_at, hold_at), (reached, go_on))
    )
    process.start()
    return Attempt(process, reached, go_on)


def _run(
    settings: Settings,
    job_id: UUID,
    attempt: int,
    points: tuple[ExportFaultPoint | None, ExportFaultPoint | None],
    events: tuple[Event, Event],
) -> None:
    kill_at, hold_at = points
    reached, go_on = events

    def hold() -> None:
        if not reached.is_set():
            reached.set()
            go_on.wait()

    if kill_at is not None:
        faults.arm(kill_at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    if hold_at is not None:
        faults.arm(hold_at, hold)
    attempt_export(build_exporter(settings), job_id, attempt, f"run-{os.getpid()}", lambda _: None)
