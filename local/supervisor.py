"""Keeps services running and stops them all.

Belongs here: processes of this project's Python, asking whether they are ready, restarting what
died, stopping in order, signals. Does not belong here: which services there are and what happens
before they run (``up.py``).
"""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from local.ports import HOST
from local.processes import STOP_SIGNALS, ManagedProcess
from local.progress import Reporter

_POLL_SECONDS = 0.5
_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 60.0
_STABLE_AFTER_SECONDS = 120.0


class StopRequested(BaseException):
    """SIGINT, SIGTERM or SIGHUP arrived."""


class Service(Protocol):
    """What the supervisor can start, watch and stop."""

    @property
    def title(self) -> str:
        """What it is called in messages."""

    @property
    def log_file(self) -> Path:
        """Where its output goes."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Stop it; idempotent."""

    def is_running(self) -> bool:
        """Whether its process is there."""

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of its log."""


class PythonProcess:
    """A module run by this interpreter."""

    def __init__(
        self,
        name: str,
        title: str,
        root: Path,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        grace_seconds: float = 15.0,
        signal_all: bool = False,
    ) -> None:
        """Start nothing yet; ``arguments`` follow the interpreter's ``-m``."""
        self.title = title
        self._process = ManagedProcess(
            name, root, signal_all=signal_all, grace_seconds=grace_seconds
        )
        self._command = [sys.executable, "-m", *arguments]
        self._environment = environment
        self._directory = directory

    @property
    def log_file(self) -> Path:
        """Where its output goes."""
        return self._process.log_file

    def start(self) -> None:
        """Start it, after stopping what is left of the one before."""
        self._process.stop()
        self._process.start(self._command, environment=self._environment, directory=self._directory)

    def stop(self) -> None:
        """Stop it and the processes it started."""
        self._process.stop()

    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process.is_running()

    @property
    def exit_code(self) -> int | None:
        """Exit code once it has ended."""
        return self._process.exit_code

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of its log."""
        return self._process.log_tail(lines)


class DagsterProcess(PythonProcess):
    """A Dagster code server, webserver or daemon."""

    def __init__(
        self,
        name: str,
        title: str,
        root: Path,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
    ) -> None:
        """Start nothing yet."""
        super().__init__(
            name,
            title,
            root,
            arguments,
            environment=environment,
            directory=directory,
            grace_seconds=8.0,
            signal_all=True,  # the run workers of a code server, or it waits for them
        )


@dataclass
class _Watched:
    service: Service
    started: float = field(default_factory=time.monotonic)
    delay: float = _FIRST_DELAY_SECONDS
    restart_at: float | None = None


class Supervisor:
    """Watches services in the order they were added and stops them in reverse."""

    def __init__(self, reporter: Reporter) -> None:
        """Watch nothing yet."""
        self._reporter = reporter
        self._watched: list[_Watched] = []

    def add(self, service: Service) -> None:
        """Watch a service from now on, also while it is being started."""
        self._watched.append(_Watched(service))

    def remove(self, service: Service) -> None:
        """Watch a service no longer."""
        self._watched = [watched for watched in self._watched if watched.service is not service]

    def check(self) -> None:
        """Say which services died and start them again once their delay is over."""
        for watched in self._watched:
            service, now = watched.service, time.monotonic()
            if watched.restart_at is not None:
                if now >= watched.restart_at:
                    self._restart(watched)
            elif not service.is_running():
                if now - watched.started > _STABLE_AFTER_SECONDS:
                    watched.delay = _FIRST_DELAY_SECONDS
                self._report_death(watched)

    def watch(self) -> None:
        """Check for ever; ends with :class:`StopRequested`."""
        while True:
            self.check()
            time.sleep(_POLL_SECONDS)

    def stop_all(self) -> None:
        """Stop every service; one that cannot be stopped does not keep the others running.

        Raises:
            ExceptionGroup: Some could not be stopped.
        """
        services = [watched.service for watched in reversed(self._watched)]
        self._watched = []
        # Our own processes together, then the servers they use, the last started first.
        own = [service for service in services if isinstance(service, PythonProcess)]
        with ThreadPoolExecutor(max_workers=max(1, len(own))) as pool:
            errors = [error for error in pool.map(_stop, own) if error is not None]
        others = [service for service in services if not isinstance(service, PythonProcess)]
        errors += [error for error in map(_stop, others) if error is not None]
        if errors:
            raise ExceptionGroup("not everything could be stopped", errors)

    def _report_death(self, watched: _Watched) -> None:
        service = watched.service
        watched.restart_at = time.monotonic() + watched.delay
        self._reporter.say(
            f"{service.title} ended unexpectedly. End of {service.log_file}:\n"
            f"{service.log_tail()}\n"
            f"{service.title} is started again in {watched.delay:.0f} s.",
            style="red",
        )
        watched.delay = min(watched.delay * 2, _LONGEST_DELAY_SECONDS)

    def _restart(self, watched: _Watched) -> None:
        watched.restart_at, watched.started = None, time.monotonic()
        try:
            watched.service.start()
        except Exception as error:
            self._reporter.say(f"{watched.service.title}: {error}", style="red")
            watched.restart_at = time.monotonic() + watched.delay
            watched.delay = min(watched.delay * 2, _LONGEST_DELAY_SECONDS)
        else:
            self._reporter.say(f"{watched.service.title} was started again.", style="green")


def _stop(service: Service) -> Exception | None:
    try:
        service.stop()
    except Exception as error:
        return error
    return None


@contextmanager
def stop_requests() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into :class:`StopRequested`."""

    def request(number: int, _frame: FrameType | None) -> None:
        raise StopRequested(signal.Signals(number).name)

    previous = [signal.signal(number, request) for number in STOP_SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(STOP_SIGNALS, previous, strict=True):
            signal.signal(number, handler)


def ignore_stop_requests() -> None:
    """From now on an impatient second Ctrl-C cannot leave processes behind."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


_LOCATIONS_QUERY = """{ workspaceOrError { ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


def code_location_state(webserver_port: int) -> str | None:
    """Ask the webserver whether the code location is loaded.

    Returns:
        None while it is not up yet, "" once loaded, else why the code does not load.
    """
    request = urllib.request.Request(
        f"http://{HOST}:{webserver_port}/graphql",
        data=json.dumps({"query": _LOCATIONS_QUERY}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            workspace = json.load(response)["data"]["workspaceOrError"]
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
    entries = workspace.get("locationEntries", [])
    if not entries or any(entry["loadStatus"] != "LOADED" for entry in entries):
        return None
    for entry in entries:
        result = entry["locationOrLoadError"]
        if result["__typename"] == "PythonError":
            # The webserver came up before the code server; it tries again by itself.
            unreachable = "DagsterUserCodeUnreachableError" in result["message"]
            return None if unreachable else str(result["message"])
    return ""
