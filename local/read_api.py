"""The read API of a local deployment, as ``boxoffice api`` serves it.

Belongs here: starting it, waiting until it is ready, how it is called. Does not belong here: its
settings and secrets (``environment.py``), or what it answers (``api``).
"""

from __future__ import annotations

import shlex
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from local import ports
from local.progress import Step
from local.servers import ServerError
from local.supervisor import PythonProcess
from pipelines.settings import PROJECT_ROOT, Settings

_READY_WITHIN_SECONDS = 60.0
_STOPS_WITHIN_SECONDS = 25.0  # requests under way are given 20
_EVERY_ADDRESS = {"0.0.0.0": ports.HOST, "::": "::1"}  # noqa: S104


class ReadApi(PythonProcess):
    """The process, on the address and port of the settings.

    Attributes:
        address: Where it is reached from this machine, ``http://host:port``.
    """

    def __init__(self, settings: Settings, root: Path, environment: Mapping[str, str]) -> None:
        """Start nothing yet."""
        super().__init__(
            "api",
            "Read API",
            root,
            ["pipelines.cli", "api"],
            environment=environment,
            directory=PROJECT_ROOT,
            grace_seconds=_STOPS_WITHIN_SECONDS,
        )
        self._port = settings.api_port
        host = _EVERY_ADDRESS.get(settings.api_host, settings.api_host)
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    def start(self) -> None:
        """Start it, after stopping what is left of the one before.

        Raises:
            ServerError: Something else listens on its port.
        """
        self.stop()
        if not ports.is_free(self._port):
            holder = ports.holder(self._port)
            raise ServerError(f"the read API's port {self._port} is taken by {holder}")
        super().start()

    def wait_until_ready(self, step: Step) -> None:
        """Wait until it answers requests.

        Raises:
            ServerError: It ended, or is not ready within a minute; shows what it said.
        """
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while (problem := self._problem()) is not None:
            log = f"End of {self.log_file}:\n{self.log_tail()}"
            if not self.is_running():
                raise ServerError(f"the read API ended with exit code {self.exit_code}. {log}")
            if time.monotonic() > deadline:
                within = f"{_READY_WITHIN_SECONDS:.0f} s"
                raise ServerError(f"the read API is not ready after {within}: {problem}. {log}")
            step.progress("starting", None)
            time.sleep(0.1)
        step.detail = f"on port {self._port}"

    def _problem(self) -> str | None:
        """Why it cannot be asked yet; None: it can."""
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=10):  # noqa: S310
                return None
        except urllib.error.HTTPError as error:
            with error:
                return error.read(10_000).decode(errors="replace")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return "it does not answer"

    def example_call(self) -> str:
        """A command to paste into a shell in this folder."""
        program = f"{shlex.quote(sys.executable)} -m pipelines.cli"
        installed = Path(sys.executable).with_name("boxoffice")
        if installed.exists() and installed.is_relative_to(PROJECT_ROOT):
            program = shlex.quote(str(installed.relative_to(PROJECT_ROOT)))
        token = f"$({program} token --role admin --account me@example.org)"
        return f'curl -H "Authorization: Bearer {token}" {self.address}/api/v1/admin/freshness'
