"""A deployment's Dagster as it runs: code server, webserver and daemon, as processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from local import ports
from local.environment import dagster_variables
from local.supervisor import DagsterProcess, code_location_state
from pipelines.settings import PROJECT_ROOT
from pipelines.webserver import Webserver
from tests.deployment import Deployment


class RunningDagster:
    """The three processes on a deployment's databases, with the project's own dagster.yaml."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self.folder = folder
        home = folder / "home"
        home.mkdir()
        shutil.copy(PROJECT_ROOT / "dagster.yaml", home)
        port = ports.choose(24266)
        self.webserver_port = ports.choose(23000, reserved={port})
        self.webserver = Webserver(f"http://{ports.HOST}:{self.webserver_port}")
        outside = ("BOXOFFICE_", "DAGSTER_", "AWS_")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(outside)}
        for name, value in deployment.settings:
            if value is not None:
                text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
                self.environment[f"BOXOFFICE_{name.upper()}"] = text
        self.environment |= dagster_variables(deployment.settings, port)
        self.environment["DAGSTER_HOME"] = str(home)
        self.environment["BOXOFFICE_DAGSTER_WEBSERVER_URL"] = self.webserver.url
        workspace = ["-w", str(PROJECT_ROOT / "workspace.yaml")]
        self.code_server = self._process(
            "code-server",
            *("dagster", "code-server", "start", "-m", "pipelines.definitions"),
            *("-h", ports.HOST, "-p", str(port), "-d", str(PROJECT_ROOT)),
            *("--use-python-environment-entry-point", "--location-name", "pipelines"),
        )
        self.web = self._process(
            "webserver",
            *("dagster_webserver", "-h", ports.HOST, "-p", str(self.webserver_port), *workspace),
        )
        self.daemon = self._process("daemon", "dagster._daemon", "run", *workspace)

    def start(self) -> None:
        """Start code server and webserver; the daemon is started by itself."""
        self.code_server.start()
        self.web.start()
        self.wait(lambda: code_location_state(self.webserver_port) == "", 120)

    def stop(self) -> None:
        for process in (self.daemon, self.web, self.code_server):
            process.stop()

    def boxoffice(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a ``boxoffice`` command against it."""
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            cwd=PROJECT_ROOT,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def wait(self, condition: Callable[[], bool], timeout_seconds: float = 120) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = [p.log_tail(40) for p in (self.code_server, self.web, self.daemon)]
                raise AssertionError("\n".join(logs))
            time.sleep(0.25)  # conditions are queries, which take longer than they wait

    def _process(self, name: str, *arguments: str) -> DagsterProcess:
        return DagsterProcess(
            name,
            name,
            self.folder,
            arguments,
            environment=self.environment,
            directory=PROJECT_ROOT,
        )
