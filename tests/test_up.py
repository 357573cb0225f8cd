"""``boxoffice up`` in a checkout of its own: nothing is left running, nothing is lost."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from dotenv import dotenv_values

from local import ports
from local.environment import PARTS, LocalState
from pipelines.settings import PROJECT_ROOT

# A code location whose run lasts until it is stopped.
DEFINITIONS = """
import time
import dagster as dg

@dg.asset(pool="source")
def endless() -> None:
    while True:
        time.sleep(0.1)

defs = dg.Definitions(assets=[endless], executor=dg.in_process_executor)
"""
LAUNCH = """mutation { launchRun(executionParams: {
  selector: {repositoryLocationName: "pipelines", repositoryName: "__repository__",
             pipelineName: "__ASSET_JOB", assetSelection: [{path: ["endless"]}]},
  runConfigData: {}}) { __typename ... on LaunchRunSuccess { run { runId } } } }"""
STATUS = """query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"""


class Checkout:
    """A second checkout of the project and the ``boxoffice`` commands run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.output = root / "output"
        kept = [name for name in os.environ if not name.startswith(("BOXOFFICE_", "DAGSTER_"))]
        self.environment = {name: os.environ[name] for name in kept}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", *arguments],
                cwd=self.root,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            cwd=self.root,
            env=self.environment,
            text=True,
            capture_output=True,
            check=False,
        )

    def up(self) -> subprocess.Popen[bytes]:
        process = self.start("up", "--no-history", "--orders", "1000")

        def is_up() -> bool:
            assert process.poll() is None, self.output.read_text()
            return "Box Office is up" in self.output.read_text()

        wait_until(is_up, self.output)
        return process

    def variable(self, name: str) -> str:
        value = dotenv_values(self.root / ".boxoffice" / "env")[name]
        assert value
        return value

    def graphql(self, query: str, **variables: str) -> dict[str, dict[str, object]]:
        port = json.loads((self.root / ".boxoffice" / "ports.json").read_text())["webserver"]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
            answer = json.load(response)
        assert "errors" not in answer, answer
        data: dict[str, dict[str, object]] = answer["data"]
        return data

    def ask_api(self, token: str) -> int:
        """Status of the call that is printed, with a token."""
        url = f"{self.api_address()}/api/v1/admin/freshness"
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
            status: int = response.status
        return status

    def api_address(self) -> str:
        found = re.search(r"Read API +(http://127.0.0.1:\d+)/docs", self.output.read_text())
        assert found, self.output.read_text()
        assert found[1].endswith(f":{self.variable('BOXOFFICE_API_PORT')}")
        return found[1]

    def printed_token(self) -> str:
        """What the token command in the printed call prints."""
        found = re.search(r"^curl -H .*\$\((.*)\)", self.output.read_text(), re.MULTILINE)
        assert found, self.output.read_text()
        made = subprocess.run(
            shlex.split(found[1]),
            cwd=self.root,
            env=self.environment,
            text=True,
            capture_output=True,
        )
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def api_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api_address()}/readyz", timeout=20) as response:  # noqa: S310
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    def processes(self) -> list[psutil.Process]:
        """Whatever works inside this checkout: everything boxoffice starts does."""
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()).is_relative_to(self.root):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    root = tmp_path_factory.mktemp("checkout") / "box office"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "bench", "docs", "tests", "*.egg-info")
    shutil.copytree(PROJECT_ROOT, root, ignore=ignored)
    definitions = root / "pipelines" / "definitions.py"
    definitions.write_text(definitions.read_text() + DEFINITIONS)
    checkout = Checkout(root)
    yield checkout
    result = checkout.run("clean", "--yes")
    assert result.returncode == 0, result.stderr
    assert not (root / ".boxoffice").exists()
    assert checkout.processes() == []


def test_ctrl_c_stops_every_process_and_the_run_that_was_going_on_is_closed_next_time(
    checkout: Checkout,
) -> None:
    up = checkout.up()
    refused = checkout.run("up")
    assert refused.returncode == 1
    assert f"already up in {checkout.root} (pid {up.pid})" in refused.stderr

    launched = checkout.graphql(LAUNCH)["launchRun"]["run"]
    assert isinstance(launched, dict)
    run_id = str(launched["runId"])

    def status() -> object:
        return checkout.graphql(STATUS, id=run_id)["runOrError"]["status"]

    wait_until(lambda: status() == "STARTED", checkout.root / ".boxoffice/logs/code-server.log")
    marker(checkout, "CREATE TABLE kept AS SELECT 42 AS answer")
    token = checkout.printed_token()
    assert checkout.ask_api(token) == 200
    os.killpg(up.pid, signal.SIGINT)  # as a terminal does
    os.killpg(up.pid, signal.SIGINT)  # and once more, impatiently
    assert up.wait(30) == 0, checkout.output.read_text()
    assert checkout.processes() == []
    log = (checkout.root / ".boxoffice/logs/api.log").read_text()
    assert "Application shutdown complete" in log

    # Started again and killed outright: nobody is there to stop the children.
    up = checkout.up()
    assert marker(checkout, "SELECT answer FROM kept") == [(42,)]
    assert status() in {"FAILURE", "CANCELED"}
    assert checkout.ask_api(token) == 200, "the secret is kept"
    for arguments, title in (
        (["-m", "dagster._daemon", "run"], "Dagster daemon"),
        (["-m", "pipelines.cli", "api"], "Read API"),
    ):
        started_with(checkout, arguments).kill()
        wait_until(
            lambda said=f"{title} was started again": said in checkout.output.read_text(),  # type: ignore[misc]
            checkout.output,
        )
        assert f"{title} ended unexpectedly" in checkout.output.read_text()
    wait_until(checkout.api_answers, checkout.output)
    assert checkout.ask_api(token) == 200
    up.kill()
    up.wait()
    assert len(checkout.processes()) >= 7
    result = checkout.run("down")
    assert result.returncode == 0, result.stderr
    for name in ("postgres", "redis", "s3", "code-server", "webserver", "daemon", "api"):
        assert name in result.stdout
    assert checkout.processes() == []


def test_down_stops_a_running_up_and_says_when_there_is_none(checkout: Checkout) -> None:
    up = checkout.start("up", "--no-history", "--orders", "1000")
    wait_until((checkout.root / ".boxoffice" / "supervisor.json").exists, checkout.output)
    stopped = checkout.run("down")
    assert stopped.returncode == 0, stopped.stderr
    assert up.wait(10) == 0, checkout.output.read_text()
    assert checkout.processes() == []
    assert "Nothing was running" in checkout.run("down").stdout


def test_production_without_urls_is_refused_by_name(checkout: Checkout) -> None:
    checkout.environment["BOXOFFICE_ENVIRONMENT"] = "production"
    try:
        result = checkout.run("up", "--once")
    finally:
        del checkout.environment["BOXOFFICE_ENVIRONMENT"]
    assert result.returncode == 1
    assert "BOXOFFICE_WAREHOUSE_URL" in result.stderr
    assert checkout.processes() == []


def test_the_secret_of_tokens_is_made_once_and_never_in_production(tmp_path: Path) -> None:
    name = "BOXOFFICE_API_TOKEN_SECRET"
    state = LocalState(tmp_path, {})
    state.update({"BOXOFFICE_BUYER_KEY_SECRET": "of an older version"})
    made = state.secrets()
    assert made["BOXOFFICE_BUYER_KEY_SECRET"] == "of an older version"
    assert len(bytes.fromhex(made[name])) == 32
    state.update(made)
    assert LocalState(tmp_path, {}).secrets() == made
    assert name not in LocalState(tmp_path, {name: "my own"}).secrets()

    for environment in (
        {"BOXOFFICE_ENVIRONMENT": "production"},
        {"BOXOFFICE_API_JWKS_URL": "https://elsewhere/keys"},
    ):
        state.update(made)
        assert name not in LocalState(tmp_path, environment).secrets()
        assert name not in state.read(), "settings would read it"


def test_a_part_is_embedded_unless_the_environment_gives_another_url(tmp_path: Path) -> None:
    def embedded(environment: dict[str, str]) -> set[str]:
        return set(LocalState(tmp_path, environment).embedded_parts())

    state = LocalState(tmp_path, {})
    state.update({"BOXOFFICE_REDIS_URL": "redis://:it's@127.0.0.1:1/0"})
    assert embedded({}) == set(PARTS)
    assert embedded({"BOXOFFICE_REDIS_URL": "redis://elsewhere/0"}) == set(PARTS) - {"Redis"}
    # A shell that sourced the env file gives nothing from outside.
    sourced = subprocess.run(
        ["bash", "-c", 'set -a; . "$0"; env -0', str(state.env_file)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert embedded(dict(line.split("=", 1) for line in sourced.split("\0") if line)) == set(PARTS)
    assert state.read() == {"BOXOFFICE_REDIS_URL": "redis://:it's@127.0.0.1:1/0"}
    assert state.env_file.stat().st_mode & 0o077 == 0


def test_a_port_is_remembered_and_left_only_while_another_holds_it(tmp_path: Path) -> None:
    first, _ = LocalState(tmp_path, {}).port("redis")
    assert LocalState(tmp_path, {}).port("redis") == (first, None)
    with socket.create_server((ports.HOST, first)):
        second, notice = LocalState(tmp_path, {}).port("redis")
    assert second > first
    assert notice is not None
    assert f"port {first} is taken by" in notice
    assert f"(pid {os.getpid()}); using {second}" in notice
    assert LocalState(tmp_path, {}).port("redis") == (second, None)


def test_missing_settings_are_named_and_no_password_is_shown(checkout: Checkout) -> None:
    outside = {
        "BOXOFFICE_ENVIRONMENT": "production",
        "BOXOFFICE_BUYER_KEY_SECRET": "x" * 32,
        **{variable: "postgresql://u:hidden@127.0.0.1:1/x" for variable, *_ in PARTS.values()},
    }
    owner = {"BOXOFFICE_WAREHOUSE_OWNER_URL": outside["BOXOFFICE_WAREHOUSE_URL"]}
    reader = {"BOXOFFICE_WAREHOUSE_READER_URL": outside["BOXOFFICE_WAREHOUSE_URL"]}
    kept = dict(checkout.environment)
    for given, said in (
        ({}, "BOXOFFICE_WAREHOUSE_OWNER_URL: Field required"),
        (owner, "BOXOFFICE_WAREHOUSE_READER_URL is not set"),
        (owner | reader, "BOXOFFICE_API_JWKS_URL is not set"),
    ):
        checkout.environment = kept | outside | given
        try:
            result = checkout.run("up", "--once")
        finally:
            checkout.environment = kept
        assert result.returncode == 1
        assert said in result.stderr
        assert "hidden" not in result.stdout + result.stderr


def marker(checkout: Checkout, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(checkout.variable("BOXOFFICE_WAREHOUSE_OWNER_URL")) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def started_with(checkout: Checkout, arguments: list[str]) -> psutil.Process:
    found = [
        each for each in checkout.processes() if each.cmdline()[1 : 1 + len(arguments)] == arguments
    ]
    (process,) = found
    return process


def wait_until(condition: Callable[[], bool], log: Path, timeout_seconds: float = 60) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
