"""``boxoffice up``, ``down`` and ``clean``.

Belongs here: the order in which a local deployment comes up, and what is printed. Does not belong
here: how a server runs (``servers.py``), how services are watched (``supervisor.py``).
"""

from __future__ import annotations

import os
import shutil
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

import psutil
import psycopg
from pydantic import ValidationError

from local import ports
from local.environment import PARTS, POSTGRES_PARTS, LocalState, dagster_variables
from local.processes import ProcessRecord, stop_leftovers, wait_until_ended
from local.progress import Reporter, Step
from local.provision import provision
from local.read_api import ReadApi
from local.servers import (
    EmbeddedPostgres,
    EmbeddedRedis,
    EmbeddedS3,
    EmbeddedServer,
    PortTakenError,
)
from local.supervisor import (
    DagsterProcess,
    StopRequested,
    Supervisor,
    code_location_state,
    ignore_stop_requests,
    stop_requests,
)
from pipelines.settings import PROJECT_ROOT, Settings, get_settings

if TYPE_CHECKING:
    import dagster as dg

Server = TypeVar("Server", bound=EmbeddedServer)

DEFAULT_ORDERS = 200_000
SAMPLE_MONTHS = 13
SAMPLE_SEED = 20240101
_FIRST_DAY_SQL = Path(__file__).parent / "sql" / "first_day.sql"
_CODE_LOADS_WITHIN_SECONDS = 180.0
_STOPS_WITHIN_SECONDS = 90.0


@dataclass(frozen=True)
class UpOptions:
    """What ``boxoffice up`` was asked for."""

    orders: int | None = None
    sample: bool = True
    history: bool = True
    once: bool = False


class UpError(RuntimeError):
    """``boxoffice up`` cannot go on; the message says what to do."""


def up(options: UpOptions, reporter: Reporter | None = None) -> None:
    """Bring everything up, watch it until asked to stop, stop all of it.

    Raises:
        AlreadyRunningError: Another ``up`` of this checkout runs.
        UpError: Something is missing or broken.
        ServerError: An embedded server does not start.
    """
    reporter = reporter or Reporter()
    state = LocalState()
    supervisor = Supervisor(reporter)
    with state.exclusive(), _recorded(state), stop_requests():
        try:
            _bring_up(options, state, supervisor, reporter)
            if not options.once:
                supervisor.watch()
        except StopRequested as request:
            ignore_stop_requests()
            reporter.say(f"\n{request}: stopping, a few seconds ...")
        finally:
            ignore_stop_requests()
            supervisor.stop_all()
        reporter.say("Everything is stopped.")


def down(reporter: Reporter | None = None) -> None:
    """Stop the running ``up`` of this checkout and whatever a killed one left.

    Raises:
        UpError: It did not end.
    """
    reporter = reporter or Reporter()
    state = LocalState()
    running = state.supervisor()
    if running is not None:
        with reporter.step(f"Stopping boxoffice up (pid {running.pid})"):
            os.kill(running.pid, signal.SIGTERM)
            if not wait_until_ended(running, _STOPS_WITHIN_SECONDS):
                raise UpError(
                    f"boxoffice up (pid {running.pid}) did not end within "
                    f"{_STOPS_WITHIN_SECONDS:.0f} s; see the terminal it runs in"
                )
    with state.exclusive():
        leftovers = stop_leftovers(state.root)
        state.supervisor_file.unlink(missing_ok=True)
    if leftovers:
        reporter.say(f"Stopped what was left running: {', '.join(leftovers)}.")
    elif running is None:
        reporter.say("Nothing was running.")


def clean(reporter: Reporter | None = None) -> None:
    """Stop everything and delete the state: databases, objects, logs, secrets."""
    reporter = reporter or Reporter()
    down(reporter)
    state = LocalState()
    shutil.rmtree(state.root)
    reporter.say(f"Deleted {state.root}.")


@contextmanager
def _recorded(state: LocalState) -> Iterator[None]:
    pid = os.getpid()
    record = ProcessRecord("boxoffice up", pid, psutil.Process(pid).create_time(), 15)
    record.write(state.supervisor_file)
    try:
        yield
    finally:
        state.supervisor_file.unlink(missing_ok=True)


def _bring_up(
    options: UpOptions, state: LocalState, supervisor: Supervisor, reporter: Reporter
) -> None:
    began = time.monotonic()
    if leftovers := stop_leftovers(state.root):
        reporter.say(f"Stopped what an earlier run left: {', '.join(leftovers)}.", style="yellow")
    parts = state.embedded_parts()
    settings = _start_servers(parts, state, supervisor, reporter)
    _check_api(settings)
    _migrate(settings, reporter)
    if "source" in parts:
        settings = _seed_once(options, settings, state, reporter)
    _prepare_dagster(parts, reporter)
    if options.history:
        _materialize_history(options, reporter)
    api = _start_api(settings, state, supervisor, reporter)
    webserver_port = _start_dagster(state, supervisor, reporter)
    with reporter.step("Read API") as step:
        api.wait_until_ready(step)
    _say_where(settings, state, webserver_port, api, time.monotonic() - began, options, reporter)


def _start_servers(
    parts: list[str], state: LocalState, supervisor: Supervisor, reporter: Reporter
) -> Settings:
    """Start the embedded servers and return settings that lead to them."""
    if parts and os.environ.get("BOXOFFICE_ENVIRONMENT") == "production":
        missing = ", ".join(PARTS[part][0] for part in parts)
        raise UpError(
            f"BOXOFFICE_ENVIRONMENT=production, and not set: {missing}. The embedded servers are "
            "for development; set these variables, or leave BOXOFFICE_ENVIRONMENT unset"
        )
    variables = state.secrets()
    if POSTGRES_PARTS & set(parts):
        postgres = _start_server(EmbeddedPostgres, state, supervisor, reporter)
        provided = provision(postgres)
        outside = {name for part in PARTS if part not in parts for name in PARTS[part]}
        variables |= {name: url for name, url in provided.items() if name not in outside}
    if "Redis" in parts:
        redis = _start_server(EmbeddedRedis, state, supervisor, reporter)
        variables["BOXOFFICE_REDIS_URL"] = redis.url
    s3 = None
    if "object store" in parts:
        s3 = _start_server(EmbeddedS3, state, supervisor, reporter)
        variables |= {
            "BOXOFFICE_S3_ENDPOINT_URL": s3.endpoint_url,
            "BOXOFFICE_S3_ACCESS_KEY_ID": s3.access_key_id,
            "BOXOFFICE_S3_SECRET_ACCESS_KEY": s3.password,
            "BOXOFFICE_S3_REGION": "us-east-1",
        }
    state.forget({name for part in PARTS if part not in parts for name in PARTS[part]})
    settings = _use(variables, state)
    code_server_port, notice = state.port("code-server")
    if notice:
        reporter.say(f"Dagster code server: {notice}", style="yellow")
    not_ours = {name for part in PARTS if part not in parts for name in PARTS[part]}
    of_dagster = dagster_variables(settings, code_server_port)
    os.environ.update(of_dagster)
    state.update({name: value for name, value in of_dagster.items() if name not in not_ours})
    if s3 is not None:
        s3.create_buckets(settings.lake_bucket, settings.exports_bucket, settings.logs_bucket)
    return settings


def _use(variables: dict[str, str], state: LocalState) -> Settings:
    """Write variables to the ``env`` file and make them hold in this process."""
    state.update(variables)
    # A shell that sourced an older file would otherwise win over it.
    os.environ.update(variables)
    get_settings.cache_clear()
    try:
        return get_settings()
    except ValidationError as error:
        problems = [
            f"BOXOFFICE_{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        ]
        raise UpError("settings are missing or wrong:\n" + "\n".join(problems)) from None


def _start_server(
    kind: type[Server], state: LocalState, supervisor: Supervisor, reporter: Reporter
) -> Server:
    with reporter.step(f"{kind.title[0].upper()}{kind.title[1:]}") as step:
        for attempt in range(3):
            port, notice = state.port(kind.name)
            if notice:
                step.say(notice)
            server = kind(state.root, port)
            supervisor.add(server)
            try:
                server.start()
            except PortTakenError as error:
                supervisor.remove(server)
                if attempt == 2:
                    raise
                step.say(str(error))
            else:
                step.detail = f"on port {port}"
                return server
    raise AssertionError("unreachable")


def _migrate(settings: Settings, reporter: Reporter) -> None:
    from pipelines.migrate import migrate

    with reporter.step("Migrating the warehouse and the lake"):
        migrate(settings)


def _seed_once(
    options: UpOptions, settings: Settings, state: LocalState, reporter: Reporter
) -> Settings:
    """Fill the source when it is empty; the first day of its history becomes the start date."""
    from local.ticketing.seed import seed

    if settings.source_owner_url is None:
        raise UpError("BOXOFFICE_SOURCE_OWNER_URL is not set; the sample platform needs it")
    owner_url = settings.source_owner_url.get_secret_value()
    first_day = _first_day(owner_url, settings.time_zone)
    if first_day is not None and options.orders is not None:
        reporter.say(
            "The source has orders already and is kept as it is. For another size: make clean.",
            style="yellow",
        )
    if first_day is None and options.sample:
        orders = options.orders or DEFAULT_ORDERS
        now = datetime.now(ZoneInfo(settings.time_zone))
        with reporter.step("Sample platform") as step:
            report = seed(
                owner_url,
                orders=orders,
                until=now,
                months=SAMPLE_MONTHS,
                seed=SAMPLE_SEED,
                time_zone=settings.time_zone,
                progress=step.progress,
            )
            first_day = report.first_day
            step.detail = (
                f"of {orders:,} orders from {first_day} to {now.date()}, "
                f"{sum(report.rows.values()):,} rows"
            )
    if first_day is None or state.is_given("BOXOFFICE_START_DATE"):
        return settings
    return _use({"BOXOFFICE_START_DATE": first_day.isoformat()}, state)


def _first_day(source_url: str, time_zone: str) -> date | None:
    with psycopg.connect(source_url) as connection:
        found = connection.execute("SELECT to_regclass('orders') IS NOT NULL").fetchone()
        if found != (True,):
            return None
        row = connection.execute(_FIRST_DAY_SQL.read_bytes(), {"time_zone": time_zone}).fetchone()
    return row[0] if row else None


def _prepare_dagster(parts: list[str], reporter: Reporter) -> None:
    """Create Dagster's tables once, before several processes do it, and close what was cut off."""
    import dagster as dg

    with reporter.step("Dagster storage") as step, dg.DagsterInstance.get() as instance:
        if "Dagster storage" in parts:  # else the runs may belong to another deployment
            step.detail = _close_interrupted_runs(instance)


def _close_interrupted_runs(instance: dg.DagsterInstance) -> str:
    """End the runs whose workers were stopped; nothing else would ever do so."""
    import dagster as dg

    ends = {
        dg.DagsterRunStatus.STARTING: instance.report_run_failed,
        dg.DagsterRunStatus.STARTED: instance.report_run_failed,
        dg.DagsterRunStatus.CANCELING: instance.report_run_canceled,
    }
    runs = instance.get_runs(dg.RunsFilter(statuses=list(ends)))
    for run in runs:
        ends[run.status](run, message="Its worker was stopped together with Box Office.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return f"{len(runs)} interrupted runs closed" if runs else ""


def _materialize_history(options: UpOptions, reporter: Reporter) -> None:
    import dagster as dg

    # The code server's log shows them; here they would tear the progress apart.
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    from pipelines.history import materialize_missing

    try:
        with reporter.step("Full history") as step:
            count = materialize_missing(progress=step.progress)
            step.detail = f"{count} partitions materialized" if count else "is complete"
    except RuntimeError as error:
        if options.once:
            raise UpError(str(error)) from error
        # The failed run is best looked at in Dagster; the next up takes it from there.
        reporter.say(f"The history is not complete: {error}", style="red")


def _check_api(settings: Settings) -> None:
    """Refuse at once what the read API would refuse after the history was materialized."""
    if settings.warehouse_reader_url is None:
        raise UpError("BOXOFFICE_WAREHOUSE_READER_URL is not set; the read API needs it")
    if settings.environment == "production":
        from api.tokens import ConfigurationError, check_configuration

        try:
            check_configuration(settings)
        except ConfigurationError as error:
            raise UpError(str(error)) from None


def _start_api(
    settings: Settings, state: LocalState, supervisor: Supervisor, reporter: Reporter
) -> ReadApi:
    """Start the read API without waiting for it: it starts beside Dagster."""
    if not state.is_given("BOXOFFICE_API_PORT"):
        port, notice = state.port("api")
        if notice:
            reporter.say(f"Read API: {notice}", style="yellow")
        settings = _use({"BOXOFFICE_API_PORT": str(port)}, state)
    api = ReadApi(settings, state.root, dict(os.environ))
    supervisor.add(api)
    api.start()
    return api


def _start_dagster(state: LocalState, supervisor: Supervisor, reporter: Reporter) -> int:
    environment = dict(os.environ)
    with reporter.step("Dagster") as step:
        webserver_port, notice = state.port("webserver")
        if notice:
            step.say(f"Dagster webserver: {notice}")
        if not state.is_given("BOXOFFICE_DAGSTER_WEBSERVER_URL"):
            url = f"http://{ports.HOST}:{webserver_port}"
            state.update({"BOXOFFICE_DAGSTER_WEBSERVER_URL": url})
        code_server_port = environment["BOXOFFICE_CODE_SERVER_PORT"]
        workspace = ["-w", str(PROJECT_ROOT / "workspace.yaml")]
        commands = {
            "code-server": [
                *("dagster", "code-server", "start", "-m", "pipelines.definitions"),
                *("-h", ports.HOST, "-p", code_server_port, "-d", str(PROJECT_ROOT)),
                "--use-python-environment-entry-point",
                *("--location-name", "pipelines"),
            ],
            "webserver": [
                *("dagster_webserver", "-h", ports.HOST, "-p", str(webserver_port)),
                *workspace,
            ],
            "daemon": ["dagster._daemon", "run", *workspace],
        }
        services = {}
        for name, arguments in commands.items():
            service = DagsterProcess(
                name,
                f"Dagster {name.replace('-', ' ')}",
                state.root,
                arguments,
                environment=environment,
                directory=PROJECT_ROOT,
            )
            supervisor.add(service)
            service.start()
            services[name] = service
        _wait_for_code(webserver_port, list(services.values()), step)
        step.detail = f"code server, webserver and daemon, on port {webserver_port}"
    return webserver_port


def _wait_for_code(webserver_port: int, services: list[DagsterProcess], step: Step) -> None:
    deadline = time.monotonic() + _CODE_LOADS_WITHIN_SECONDS
    while (problem := code_location_state(webserver_port)) is None:
        for service in services:
            if not service.is_running():
                raise UpError(
                    f"{service.title} ended with exit code {service.exit_code}. "
                    f"End of {service.log_file}:\n{service.log_tail()}"
                )
        if time.monotonic() > deadline:
            logs = "\n".join(f"{service.log_file}:\n{service.log_tail()}" for service in services)
            raise UpError(f"Dagster is not up after {_CODE_LOADS_WITHIN_SECONDS:.0f} s.\n{logs}")
        step.progress("loading the code", None)
        time.sleep(0.2)
    if problem:
        raise UpError(f"the code location pipelines.definitions does not load:\n{problem}")


def _say_where(
    settings: Settings,
    state: LocalState,
    webserver_port: int,
    api: ReadApi,
    seconds: float,
    options: UpOptions,
    reporter: Reporter,
) -> None:
    rows = [
        ("Dagster", f"http://{ports.HOST}:{webserver_port}"),
        ("Read API", f"{api.address}/docs"),
        ("Finished tables", _without_password(settings.warehouse_url.get_secret_value())),
        ("Source", _without_password(settings.source_url.get_secret_value())),
        ("Objects", settings.s3_endpoint_url or "AWS S3"),
        ("Variables, with passwords", f"{state.env_file}  (set -a; . .boxoffice/env; set +a)"),
        ("Logs", str(state.root / "logs")),
    ]
    if not options.once:
        rows.append(("Stop", "Ctrl-C here, or: make down"))
    reporter.say(f"\nBox Office is up after {seconds:.1f} s.", style="bold green")
    reporter.table(rows)
    if not options.once and settings.api_token_secret is not None:
        reporter.say("\nAsk the read API, with a token for an hour:", style="bold")
        reporter.say(api.example_call())


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    credentials, _, address = rest.rpartition("@")
    return f"{scheme}://{credentials.partition(':')[0]}@{address}" if credentials else url
