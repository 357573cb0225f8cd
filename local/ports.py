"""Which TCP port a local server listens on.

Belongs here: testing a port, naming who holds it, choosing another. Does not belong here:
remembering the choice (``environment.py``).
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import psutil

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections in TIME_WAIT do not count, listeners do.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Say which process listens on the port, as far as the system tells."""
    if is_free(port):
        return "another checkout that is starting"
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "a process the system does not name"
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN
        if listens and getattr(connection.laddr, "port", None) == port:
            if connection.pid is None:
                break
            try:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {process.pid})"
            except psutil.NoSuchProcess:
                break
    return "a process the system does not name"


def choose(preferred: int, reserved: Collection[int] = ()) -> int:
    """Return the preferred port, or the next free one above it, and keep it for this process.

    Two checkouts starting at once would otherwise choose alike before either listens; Dagster's
    code server then shares the port with the other one instead of failing.

    Args:
        preferred: First port to try.
        reserved: Ports already promised to another part.

    Raises:
        RuntimeError: None of the next 200 ports is free.
    """
    for port in range(preferred, preferred + 200):
        if port not in reserved and is_free(port) and _keep(port):
            return port
    raise RuntimeError(f"no free port between {preferred} and {preferred + 199} on {HOST}")


_kept: dict[int, IO[str]] = {}


def _keep(port: int) -> bool:
    """Lock the port against this user's other checkouts until this process ends."""
    if port in _kept:
        return True
    directory = Path(tempfile.gettempdir()) / f"boxoffice-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    file = (directory / str(port)).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _kept[port] = file
    return True
