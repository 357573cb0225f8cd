"""The state of this checkout's local deployment: ``.boxoffice/``.

Belongs here: the ``env`` file, remembered ports, which parts are embedded, and what the Dagster
processes find in their environment. Does not belong here: starting anything (``up.py``).

``env`` (mode 600) is read by ``pipelines.settings`` with lower precedence than the environment and
can be sourced by a shell: ``set -a; . .boxoffice/env; set +a``. A part counts as given from outside
only when the environment says something else than this file.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values

from local import ports
from local.processes import ProcessRecord
from pipelines.settings import PROJECT_ROOT, STATE_DIRECTORY, Settings

PREFERRED_PORTS = {
    "postgres": 15432,
    "s3": 19000,
    "redis": 16379,
    "code-server": 14266,
    "webserver": 3000,
    "api": 8000,
}

# part -> the variable that says it is given from outside, and those that come with it
PARTS = {
    "source": ("BOXOFFICE_SOURCE_URL", "BOXOFFICE_SOURCE_OWNER_URL"),
    "lake catalog": ("BOXOFFICE_LAKE_CATALOG_URL",),
    "warehouse": (
        "BOXOFFICE_WAREHOUSE_URL",
        "BOXOFFICE_WAREHOUSE_OWNER_URL",
        "BOXOFFICE_WAREHOUSE_READER_URL",
        "BOXOFFICE_WAREHOUSE_ADHOC_URL",
    ),
    "Dagster storage": ("BOXOFFICE_DAGSTER_URL",),
    "object store": (
        "BOXOFFICE_S3_ENDPOINT_URL",
        "BOXOFFICE_S3_ACCESS_KEY_ID",
        "BOXOFFICE_S3_SECRET_ACCESS_KEY",
        "BOXOFFICE_S3_REGION",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
    ),
    "Redis": ("BOXOFFICE_REDIS_URL",),
}
_TOKEN_SECRET = "BOXOFFICE_API_TOKEN_SECRET"  # noqa: S105 - its name
POSTGRES_PARTS = frozenset({"source", "lake catalog", "warehouse", "Dagster storage"})


class AlreadyRunningError(RuntimeError):
    """Another ``boxoffice up`` of this checkout runs; the message names its pid."""


class LocalState:
    """The state directory of one checkout.

    Args:
        root: The directory; created with its first file.
        environment: The process environment.
    """

    def __init__(
        self, root: Path = STATE_DIRECTORY, environment: Mapping[str, str] = os.environ
    ) -> None:
        """Read nothing yet."""
        self.root = root
        self.env_file = root / "env"
        self.supervisor_file = root / "supervisor.json"
        self._environment = environment
        self._ports_file = root / "ports.json"

    def read(self) -> dict[str, str]:
        """Return the variables of the ``env`` file."""
        return {key: value or "" for key, value in dotenv_values(self.env_file).items()}

    def update(self, variables: Mapping[str, str]) -> None:
        """Add variables to the ``env`` file, atomically; only its owner may read it."""
        merged = {**self.read(), **variables}
        lines = [f"{key}={_quoted(key, value)}\n" for key, value in sorted(merged.items())]
        self._write(self.env_file, "".join(lines))

    def forget(self, names: set[str]) -> None:
        """Remove variables from the ``env`` file."""
        kept = {key: value for key, value in self.read().items() if key not in names}
        lines = [f"{key}={_quoted(key, value)}\n" for key, value in sorted(kept.items())]
        self._write(self.env_file, "".join(lines))

    def embedded_parts(self) -> list[str]:
        """Return the parts whose URL the environment does not set."""
        return [part for part, (variable, *_) in PARTS.items() if not self.is_given(variable)]

    def is_given(self, variable: str) -> bool:
        """Whether the environment sets a variable to something else than the ``env`` file."""
        return self._environment.get(variable) not in {None, "", self.read().get(variable)}

    def secrets(self) -> dict[str, str]:
        """Return the secrets made for this checkout; made at random once."""
        names = ["BOXOFFICE_BUYER_KEY_SECRET"]
        if self._mints_tokens():
            names.append(_TOKEN_SECRET)
        else:
            self.forget({_TOKEN_SECRET})  # production refuses it, and a JWKS replaces it
        kept = self.read()
        return {
            name: kept.get(name) or secrets.token_hex(32)
            for name in names
            if not self.is_given(name)
        }

    def _mints_tokens(self) -> bool:
        is_production = self._environment.get("BOXOFFICE_ENVIRONMENT") == "production"
        return not is_production and not self.is_given("BOXOFFICE_API_JWKS_URL")

    def port(self, name: str) -> tuple[int, str | None]:
        """Return the port of a server: the one it had before, or its usual one, if free.

        Returns:
            The port, and what to tell when the first choice was taken.
        """
        remembered: dict[str, int] = (
            json.loads(self._ports_file.read_text()) if self._ports_file.exists() else {}
        )
        first_choice = remembered.get(name, PREFERRED_PORTS[name])
        others = {port for other, port in remembered.items() if other != name}
        port = ports.choose(first_choice, reserved=others)
        self._write(self._ports_file, json.dumps(remembered | {name: port}, indent=1))
        if port == first_choice:
            return port, None
        by = ports.holder(first_choice)
        return port, f"port {first_choice} is taken by {by}; using {port}"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the checkout's lock; the system releases it however the process ends.

        Raises:
            AlreadyRunningError: Another process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                supervisor = self.supervisor()
                who = f" (pid {supervisor.pid})" if supervisor else ""
                raise AlreadyRunningError(
                    f"boxoffice is already up in {self.root.parent}{who}. "
                    "Stop it with Ctrl-C where it runs, or with: make down"
                ) from None
            yield

    def supervisor(self) -> ProcessRecord | None:
        """Return the running ``boxoffice up`` of this checkout, if there is one."""
        record = ProcessRecord.read(self.supervisor_file)
        return record if record is not None and record.process() is not None else None

    def _write(self, path: Path, content: str) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.new")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_text(content)
        unfinished.replace(path)


def _quoted(name: str, value: str) -> str:
    """Quote so that a shell and python-dotenv both read exactly the value."""
    quote = '"' if "'" in value else "'"
    if any(part in value for part in ("${", "\\", "\n")) or (
        quote == '"' and any(part in value for part in '"$`')
    ):
        raise ValueError(f"{name} holds characters an env file cannot: quotes, $, \\ or a new line")
    return f"{quote}{value}{quote}"


def dagster_variables(settings: Settings, code_server_port: int) -> dict[str, str]:
    """Return what ``dagster.yaml`` and ``workspace.yaml`` take from the environment."""
    variables = {
        "DAGSTER_HOME": str(PROJECT_ROOT),
        # Dagster then stores the events of a run of many partitions in batches.
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
        "BOXOFFICE_CODE_SERVER_HOST": ports.HOST,
        "BOXOFFICE_CODE_SERVER_PORT": str(code_server_port),
        "BOXOFFICE_DAGSTER_URL": settings.dagster_url.get_secret_value(),
        "BOXOFFICE_LOGS_BUCKET": settings.logs_bucket,
        "AWS_DEFAULT_REGION": settings.s3_region,
    }
    if settings.s3_endpoint_url is not None:
        variables["AWS_ENDPOINT_URL_S3"] = settings.s3_endpoint_url
    if settings.s3_access_key_id is not None and settings.s3_secret_access_key is not None:
        variables["AWS_ACCESS_KEY_ID"] = settings.s3_access_key_id.get_secret_value()
        variables["AWS_SECRET_ACCESS_KEY"] = settings.s3_secret_access_key.get_secret_value()
    return variables
