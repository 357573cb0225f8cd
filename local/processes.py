"""Child processes: own process group, own log file, recorded on disk, stopped without a remainder.

Belongs here: starting, recording and stopping one process, and finding those a killed parent left
behind. Does not belong here: what the processes are (``servers.py``, ``supervisor.py``).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOG_ROTATION_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True)
class ProcessRecord:
    """Identity of a started process; ``created`` guards against a reused pid."""

    name: str
    pid: int
    created: float
    stop_signal: int
    signal_all: bool = False

    @classmethod
    def read(cls, path: Path) -> ProcessRecord | None:
        """Return the record in ``path``; None when there is no such file."""
        try:
            text = path.read_text()
        except FileNotFoundError:
            return None
        return cls(**json.loads(text))

    def write(self, path: Path) -> None:
        """Write the record so that a reader sees all of it or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.replace(path)

    def process(self) -> psutil.Process | None:
        """Return the living process this record means; None when it has ended."""
        try:
            process = psutil.Process(self.pid)
            # Two seconds: the boot time psutil adds moves when the clock is adjusted.
            same = abs(process.create_time() - self.created) < 2.0
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same and alive else None

    def members(self) -> list[psutil.Process]:
        """Return every living process that belongs to it: itself, descendants, process group."""
        leader = self.process()
        found = {process.pid: process for process in ([leader] if leader else [])}
        if leader is not None:
            # It may end between the two calls; its group is looked through below.
            with contextlib.suppress(psutil.NoSuchProcess):
                found.update({child.pid: child for child in leader.children(recursive=True)})
        if leader is not None or not psutil.pid_exists(self.pid):
            found.update({process.pid: process for process in _group(self.pid)})
        return list(found.values())


def _group(group_id: int) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group_id and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return members


class ManagedProcess:
    """One child process with a log file and a record below ``root``.

    Args:
        name: Names the log (``logs/<name>.log``) and the record (``pids/<name>.json``).
        root: State directory.
        stop_signal: What asks this program to end in order.
        grace_seconds: How long it may take before it is killed.
        signal_all: Send the signal to the processes it started as well.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_seconds: float = 15.0,
        signal_all: bool = False,
    ) -> None:
        """Start nothing yet."""
        self.name = name
        self.log_file = root / "logs" / f"{name}.log"
        self.record_file = root / "pids" / f"{name}.json"
        self._stop_signal = stop_signal
        self._grace_seconds = grace_seconds
        self._signal_all = signal_all
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._popen.pid if self._popen is not None and self.is_running() else None

    @property
    def exit_code(self) -> int | None:
        """Exit code once it has ended (negative: the signal), None before."""
        return None if self._popen is None else self._popen.poll()

    def is_running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def start(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        directory: Path,
        user: str | None = None,
    ) -> None:
        """Start the process; its output is appended to the log file.

        Raises:
            RuntimeError: It is running already.
            OSError: The program could not be started.
        """
        if self.is_running():
            raise RuntimeError(f"{self.name} is running already (pid {self.pid})")
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_ROTATION_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with self.log_file.open("ab") as log, _deferred_stop_signals():
            self._popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=directory,
                process_group=0,
                user=user,
                group=user,
                extra_groups=[] if user is not None else None,
            )
            pid = self._popen.pid
            ProcessRecord(
                self.name,
                pid,
                psutil.Process(pid).create_time(),
                int(self._stop_signal),
                self._signal_all,
            ).write(self.record_file)

    def stop(self) -> None:
        """Ask it to end, kill it and whatever it started after the grace period; idempotent."""
        record = ProcessRecord.read(self.record_file)
        if record is not None:
            stop_recorded(record, self._grace_seconds)
        if self._popen is not None:
            self._popen.wait()
        self.record_file.unlink(missing_ok=True)

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of the log."""
        return tail(self.log_file, lines)


@contextlib.contextmanager
def _deferred_stop_signals() -> Iterator[None]:
    """Deliver stop signals after the block, so that none falls between a start and its record."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    previous = [signal.getsignal(number) for number in STOP_SIGNALS]
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in zip(STOP_SIGNALS, previous, strict=True):
            signal.signal(number, handler)
        for first in arrived[:1]:
            os.kill(os.getpid(), first)


def tail(path: Path, lines: int) -> str:
    """Return the last ``lines`` lines of a text file; empty when it does not exist."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def stop_recorded(record: ProcessRecord, grace_seconds: float = 15.0) -> bool:
    """Stop a recorded process and all that belongs to it.

    Returns:
        Whether anything was still running.

    Raises:
        RuntimeError: Something survived SIGKILL.
    """
    members = set(record.members())
    if not members:
        return False
    leader = record.process()
    if leader is not None:
        _signal(members if record.signal_all else {leader}, record.stop_signal)
        _wait({leader}, grace_seconds)
    members |= set(record.members())
    if leader is None or not record.signal_all:
        _signal(members, signal.SIGTERM)
        _wait(members, 3.0)
    members |= set(record.members())
    _signal(members, signal.SIGKILL)
    _wait(members, 5.0)
    if survivors := _living(members):
        pids = ", ".join(str(process.pid) for process in survivors)
        raise RuntimeError(f"{record.name}: processes {pids} survived SIGKILL; stop them by hand")
    return True


def _living(processes: set[psutil.Process]) -> set[psutil.Process]:
    living = set()
    for process in processes:
        # Orphans stay zombies where process 1 does not reap them, as in many containers.
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                living.add(process)
    return living


def _wait(processes: set[psutil.Process], timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while _living(processes) and time.monotonic() < deadline:
        time.sleep(0.02)


def _signal(processes: set[psutil.Process], number: int) -> None:
    for process in _living(processes):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def stop_leftovers(root: Path) -> list[str]:
    """Stop what an earlier, killed parent left running below ``root``.

    Returns:
        Names of the processes that were still running.
    """
    stopped = []
    # Servers of data last: the others write to them until they end.
    records = [(path, ProcessRecord.read(path)) for path in (root / "pids").glob("*.json")]
    for path, record in sorted(records, key=lambda pair: -pair[0].stat().st_mtime):
        if record is not None and stop_recorded(record):
            stopped.append(record.name)
        path.unlink(missing_ok=True)
    return stopped


def wait_until_ended(record: ProcessRecord, timeout_seconds: float) -> bool:
    """Wait for a process that need not be a child; returns whether it ended in time."""
    deadline = time.monotonic() + timeout_seconds
    while record.process() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
