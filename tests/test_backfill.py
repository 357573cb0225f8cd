"""Backfills of a running Dagster: bounded, retried alone, never in the way of the live day."""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from local.ticketing.seed import seed
from metrics.calendar import month_start, next_month, week_start
from metrics.datasets import DATASETS
from pipelines.backfill import Backfill, BackfillRun, describe_days
from pipelines.cli import app
from pipelines.webserver import Webserver, WebserverError
from tests.deployment import Deployment
from tests.running import RunningDagster

ZONE = "Africa/Nairobi"
DAYS, DAYS_PER_RUN = 60, 20

BACKFILLS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } } }"
RUNS = """{ runsOrError { ... on Runs { results {
  runId status creationTime startTime endTime tags { key value } assetSelection { path }
  stats { ... on RunStatsSnapshot { launchTime } }
  stepStats { stepKey startTime endTime } } } } }"""
# What the UI sends for "Materialize all" with every partition selected.
UI_LAUNCH = """mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on Error { message } } }"""
LAUNCH_RUN = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
LIMIT_POOL = """mutation { setConcurrencyLimit(concurrencyKey: "source", limit: 1) }"""


@dataclass
class Platform:
    """Two months of a small platform, and the Dagster that serves it."""

    deployment: Deployment
    dagster: RunningDagster
    first: date
    today: date

    @property
    def chunks(self) -> list[tuple[str, str]]:
        starts = [self.first + timedelta(days=n) for n in range(0, DAYS, DAYS_PER_RUN)]
        return [(str(start), str(start + timedelta(days=DAYS_PER_RUN - 1))) for start in starts]

    def runs(self, backfill_id: str | None = None) -> list[dict[str, Any]]:
        results = self.dagster.webserver.graphql(RUNS)["runsOrError"]["results"]
        for run in results:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        if backfill_id:
            return [run for run in results if run["tags"].get("dagster/backfill") == backfill_id]
        return list(results)

    def backfills(self) -> dict[str, str]:
        found = self.dagster.webserver.graphql(BACKFILLS)["partitionBackfillsOrError"]["results"]
        return {backfill["id"]: backfill["status"] for backfill in found}

    def published(self) -> dict[str, int]:
        rows = self.deployment.rows(
            "SELECT partition_key, publication_id FROM ops.partitions"
            " WHERE dataset = 'daily_metrics'"
        )
        return {row["partition_key"]: row["publication_id"] for row in rows}


@dataclass
class Ended:
    """A finished ``boxoffice`` command."""

    code: int
    output: str


@dataclass
class FirstPass:
    """A backfill of every day in which one chunk fails, and a live run launched meanwhile."""

    backfill_id: str
    waiting: Ended
    interrupted: Ended
    live_run_id: str
    runs: dict[str, dict[str, Any]]
    published: dict[str, int]


@dataclass
class SecondPass:
    """The retry of the failed chunk beside a backfill from the UI, with one place in the pool."""

    retry_id: str
    retried: Ended
    ui_id: str
    cancelled: Ended
    cancelled_id: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    published: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def platform(
    make_deployment: Callable[..., Deployment], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    now = datetime.now(ZoneInfo(ZONE))
    first = now.date() - timedelta(days=DAYS - 1)
    deployment = make_deployment(
        start_date=first, days_per_run=DAYS_PER_RUN, refresh_cron="0 0 1 1 *"
    )
    seed(deployment.source_owner_url, orders=10_000, until=now, months=2, seed=7, time_zone=ZONE)
    dagster = RunningDagster(deployment, tmp_path_factory.mktemp("running"))
    try:
        dagster.start()
        yield Platform(deployment, dagster, first, now.date())
    finally:
        dagster.stop()


@pytest.fixture(scope="module")
def first_pass(platform: Platform) -> FirstPass:
    dagster = platform.dagster
    bad_day = platform.first + timedelta(days=DAYS_PER_RUN + 5)
    platform.deployment.source(
        "ALTER TABLE orders DROP CONSTRAINT orders_event_id_fkey",
        f"""UPDATE orders SET event_id = -event_id
            WHERE (completed_at AT TIME ZONE '{ZONE}')::date = '{bad_day}'""",
    )
    waiting = dagster.boxoffice(
        "backfill", "--from", str(platform.first), "--to", str(platform.today)
    )
    dagster.wait(lambda: bool(platform.backfills()))
    (backfill_id,) = platform.backfills()
    dagster.daemon.start()  # it looks for backfills when it starts, then every 30 s

    interrupted = dagster.boxoffice("backfill", "--follow", backfill_id)
    assert interrupted.stdout is not None
    said = interrupted.stdout.readline() + interrupted.stdout.readline()
    interrupted.send_signal(signal.SIGINT)

    def is_busy() -> bool:
        states = [run["status"] for run in platform.runs(backfill_id)]
        going_on = sum(state in {"STARTING", "STARTED"} for state in states)
        return going_on == 2 and states.count("QUEUED") == 1

    dagster.wait(is_busy)
    live_run_id = launch_live_day(platform)
    ended = end(waiting)
    dagster.wait(lambda: all(run["endTime"] for run in platform.runs()))
    return FirstPass(
        backfill_id=backfill_id,
        waiting=ended,
        interrupted=end(interrupted, said),
        live_run_id=live_run_id,
        runs={run["runId"]: run for run in platform.runs()},
        published=platform.published(),
    )


@pytest.fixture(scope="module")
def second_pass(platform: Platform, first_pass: FirstPass) -> SecondPass:
    dagster = platform.dagster
    dagster.daemon.stop()
    platform.deployment.source("UPDATE orders SET event_id = -event_id WHERE event_id < 0")
    dagster.webserver.graphql(LIMIT_POOL)
    before = set(platform.backfills())
    retried = dagster.boxoffice("backfill", "--retry", first_pass.backfill_id)
    dagster.wait(lambda: len(platform.backfills()) > len(before))
    (retry_id,) = set(platform.backfills()) - before

    launched = dagster.webserver.expect(
        "LaunchBackfillSuccess",
        UI_LAUNCH,
        params={"assetSelection": [{"path": ["raw_attendees"]}], "allPartitions": True},
    )
    unwanted = end(
        dagster.boxoffice(
            *("backfill", "--from", str(platform.first), "--to", str(platform.today)),
            *("--metrics-only", "--no-wait"),
        )
    )
    assert unwanted.code == 0, unwanted.output
    unwanted_id = unwanted.output.split()[1].rstrip(":")
    cancelling = dagster.boxoffice("backfill", "--cancel", unwanted_id)
    dagster.wait(lambda: platform.backfills()[unwanted_id] == "CANCELING")
    dagster.daemon.start()

    ui_id = launched["backfillId"]
    dagster.wait(
        lambda: (
            len(runs := platform.runs(ui_id)) == DAYS // DAYS_PER_RUN
            and all(run["endTime"] for run in runs)
        )
    )
    return SecondPass(
        retry_id=retry_id,
        retried=end(retried),
        ui_id=ui_id,
        cancelled=end(cancelling),
        cancelled_id=unwanted_id,
        runs=platform.runs(),
        published=platform.published(),
        statuses=platform.backfills(),
    )


def launch_live_day(platform: Platform) -> str:
    """Launch what the schedule ``refresh_today`` launches."""
    tags = {"dagster/partition": str(platform.today), "dagster/priority": "10"}
    launched = platform.dagster.webserver.expect(
        "LaunchRunSuccess",
        LAUNCH_RUN,
        params={
            "selector": {
                "repositoryLocationName": "pipelines",
                "repositoryName": "__repository__",
                "pipelineName": "refresh_days",
            },
            "runConfigData": {},
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in tags.items()]
            },
        },
    )
    return str(launched["run"]["runId"])


def end(process: subprocess.Popen[str], said: str = "") -> Ended:
    output, _ = process.communicate(timeout=120)
    return Ended(process.returncode, said + output)


def day_range(run: Mapping[str, Any]) -> tuple[str, str]:
    tags = run["tags"]
    return (
        tags["dagster/asset_partition_range_start"],
        tags["dagster/asset_partition_range_end"],
    )


def test_a_backfill_is_cut_into_bounded_runs_of_adjacent_days(
    platform: Platform, first_pass: FirstPass
) -> None:
    runs = [r for r in first_pass.runs.values() if "dagster/backfill" in r["tags"]]
    daily = [r for r in runs if r["tags"]["dagster/backfill"] == first_pass.backfill_id]
    assert sorted(map(day_range, daily)) == platform.chunks
    assert {run["tags"]["dagster/priority"] for run in daily} == {"-10"}
    assert {len(run["assetSelection"]) for run in daily} == {13}


def test_a_failed_chunk_is_named_with_its_reason_and_leaves_the_others_published(
    platform: Platform, first_pass: FirstPass
) -> None:
    first, last = platform.chunks[1]
    good = {day for day in first_pass.published if not first <= day <= last}
    assert len(good) == DAYS - DAYS_PER_RUN
    assert set(first_pass.published) == good
    assert first_pass.waiting.code == 1
    output = " ".join(first_pass.waiting.output.split())
    assert f"40 of 60 days are published, not {first} to {last}" in output
    (failed,) = [r for r in first_pass.runs.values() if r["status"] == "FAILURE"]
    assert f"run {failed['runId']} of {first} to {last}" in output
    assert "too many rows of the source cannot be used" in output
    assert f"boxoffice backfill --retry {first_pass.backfill_id}" in output


def test_the_live_day_overtakes_the_backfill(first_pass: FirstPass) -> None:
    live = first_pass.runs[first_pass.live_run_id]
    chunks = [
        run
        for run in first_pass.runs.values()
        if run["tags"].get("dagster/backfill") == first_pass.backfill_id
    ]
    assert live["status"] == "SUCCESS"
    launched = sorted(run["stats"]["launchTime"] for run in chunks)
    assert launched[1] < live["creationTime"] < launched[2]
    assert live["stats"]["launchTime"] < launched[2]
    assert live["stats"]["launchTime"] - live["creationTime"] < 15
    assert live["endTime"] < max(run["endTime"] for run in chunks)


def test_ctrl_c_ends_the_waiting_and_not_the_backfill(first_pass: FirstPass) -> None:
    assert first_pass.interrupted.code == 130
    assert "the backfill goes on" in first_pass.interrupted.output
    assert f"boxoffice backfill --cancel {first_pass.backfill_id}" in first_pass.interrupted.output


def test_waiting_without_a_daemon_says_so(first_pass: FirstPass) -> None:
    assert "backfill daemon has never run" in first_pass.waiting.output


def test_a_retry_runs_only_the_failed_days_and_reads_the_source_again(
    platform: Platform, first_pass: FirstPass, second_pass: SecondPass
) -> None:
    assert second_pass.retried.code == 0, second_pass.retried.output
    (run,) = [
        run
        for run in second_pass.runs
        if run["tags"].get("dagster/backfill") == second_pass.retry_id
    ]
    assert day_range(run) == platform.chunks[1]
    assert ["raw_orders"] in [key["path"] for key in run["assetSelection"]]
    assert run["tags"]["dagster/parent_backfill_id"] == first_pass.backfill_id
    assert len(second_pass.published) == DAYS
    assert first_pass.published.items() <= second_pass.published.items()
    again = end(platform.dagster.boxoffice("backfill", "--retry", second_pass.retry_id))
    assert again.code == 1
    assert "published all its days" in again.output


def test_a_backfill_of_all_days_from_the_ui_is_bounded_too(
    platform: Platform, second_pass: SecondPass
) -> None:
    runs = [r for r in second_pass.runs if r["tags"].get("dagster/backfill") == second_pass.ui_id]
    assert sorted(map(day_range, runs)) == platform.chunks
    assert {run["status"] for run in runs} == {"SUCCESS"}


def test_runs_reading_the_source_never_exceed_the_pool(second_pass: SecondPass) -> None:
    backfills = {second_pass.retry_id, second_pass.ui_id}
    reading = sorted(
        (step["startTime"], step["endTime"])
        for run in second_pass.runs
        if run["tags"].get("dagster/backfill") in backfills
        for step in run["stepStats"]
        if step["stepKey"] == "raw"
    )
    assert len(reading) == 4
    overlapping = [(one, two) for one, two in pairwise(reading) if two[0] < one[1]]
    assert overlapping == []


def test_a_cancelled_backfill_runs_nothing(second_pass: SecondPass) -> None:
    assert second_pass.cancelled.code == 0, second_pass.cancelled.output
    assert second_pass.statuses[second_pass.cancelled_id] == "CANCELED"
    ran = {run["tags"].get("dagster/backfill") for run in second_pass.runs}
    assert second_pass.cancelled_id not in ran


@pytest.mark.usefixtures("second_pass")
def test_a_late_refund_is_in_its_day_week_and_month_within_two_minutes(
    platform: Platform,
) -> None:
    day = platform.today - timedelta(days=30)
    periods = {
        "daily_metrics": day,
        "weekly_revenue": week_start(day),
        "monthly_revenue": month_start(day),
    }
    at = f"(SELECT '{day} 12:00'::timestamp AT TIME ZONE '{ZONE}')"
    before = refunded(platform, "daily_metrics", day, day)
    platform.deployment.source(
        f"""INSERT INTO refunds (refund_id, order_id, event_id, provider, instrument, status,
            currency, amount_minor, requested_at, succeeded_at, updated_at)
        SELECT (SELECT max(refund_id) + 1 FROM refunds), order_id, event_id, 'CARD', 'visa',
            'succeeded', currency, 12345, {at}, {at}, clock_timestamp()
        FROM orders WHERE status = 'completed' AND NOT is_test AND completed_at < {at} LIMIT 1"""
    )
    committed = datetime.now(UTC)

    def published() -> dict[str, datetime]:
        rows = platform.deployment.rows(
            """SELECT dataset, min(published_at) AS at FROM ops.publications
            WHERE published_at > %s AND dataset || partition_key = ANY(%s) GROUP BY dataset""",
            [committed, [f"{dataset}{key}" for dataset, key in periods.items()]],
        )
        return {row["dataset"]: row["at"] for row in rows}

    platform.dagster.wait(lambda: set(published()) == set(periods), 120)
    (late,) = platform.deployment.rows(
        "SELECT found_at FROM ops.late_days WHERE fact = 'refunds' AND business_date = %s", [day]
    )
    (run,) = [r for r in platform.runs() if r["tags"].get("boxoffice/late_data") == "refunds 1"]
    seconds = {
        "found": (late["found_at"] - committed).total_seconds(),
        "requested": run["creationTime"] - committed.timestamp(),
        "run started": run["startTime"] - committed.timestamp(),
        **{name: (when - committed).total_seconds() for name, when in published().items()},
    }
    logging.getLogger(__name__).info("after the commit: %s", seconds)
    assert max(seconds.values()) < 120
    assert refunded(platform, "daily_metrics", day, day) == before + 12_345
    for dataset, end in (("weekly_revenue", timedelta(days=6)), ("monthly_revenue", None)):
        first = periods[dataset]
        last = first + end if end else next_month(first) - timedelta(days=1)
        days = refunded(platform, "daily_metrics", first, last)
        assert refunded(platform, dataset, first, first) == days
    assert run["tags"]["dagster/partition"] == str(day)
    assert run["tags"]["dagster/priority"] == "5"


def refunded(platform: Platform, dataset: str, first: date, last: date) -> int:
    column = DATASETS[dataset].grain[0].name
    (row,) = platform.deployment.rows(
        f"SELECT coalesce(sum(refunds), 0)::bigint AS refunds FROM reporting.{dataset}"
        f" WHERE {column} BETWEEN %s AND %s",
        [first, last],
    )
    return int(row["refunds"])


def test_a_step_waits_for_a_place_in_the_pool_also_within_its_process(
    make_deployment: Callable[..., Deployment], platform: Platform
) -> None:
    deployment = platform.deployment
    pool = deployment.instance.event_log_storage
    pool.set_concurrency_slots("source", 1)
    assert pool.claim_concurrency_slot("source", "another run", "raw").is_claimed
    day = str(platform.first)
    result: list[Any] = []
    run = threading.Thread(target=lambda: result.append(deployment.run("refresh_days", day)))
    run.start()
    platform.dagster.wait(lambda: bool(pool.get_concurrency_info("source").pending_step_count))
    (pending,) = [
        step
        for step in pool.get_concurrency_info("source").pending_steps
        if not step.assigned_timestamp
    ]
    assert pending.step_key == "raw"
    pool.free_concurrency_slots_for_run("another run")
    run.join(60)
    assert result
    assert result[0].success


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "{before}", "--to", "{today}"], "before the first reporting day, {first}"),
        (
            ["--from", "{first}", "--to", "{tomorrow}"],
            "in the future; the reporting day is {today}",
        ),
        (["--from", "{today}", "--to", "{first}"], "ends ({first}) before it starts ({today})"),
        (["--from", "1/2/2026", "--to", "{today}"], "'1/2/2026' is not a date"),
        (["--from", "{first}"], "--from and --to are given together"),
        (["--retry", "x", "--cancel", "y"], "one of --retry, --follow, --cancel"),
        (["--retry", "nosuchid"], "Backfill nosuchid could not be found"),
    ],
)
def test_what_cannot_be_backfilled_is_refused_with_the_reason(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    day = timedelta(days=1)
    names = {
        "before": platform.first - day,
        "first": platform.first,
        "today": platform.today,
        "tomorrow": platform.today + day,
    }
    known = set(platform.backfills())
    settings = platform.deployment.settings.model_copy(
        update={"dagster_webserver_url": platform.dagster.webserver.url}
    )
    monkeypatch.setattr("pipelines.settings.get_settings", lambda: settings)
    command = ["backfill", *(each.format(**names) for each in arguments)]
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 1
    assert message.format(**names) in " ".join(ended.output.split())
    assert set(platform.backfills()) == known


def test_an_unreachable_webserver_is_named_with_what_to_do() -> None:
    with pytest.raises(WebserverError, match=r"answers at http://127\.0\.0\.1:9 .*make up"):
        Webserver("http://127.0.0.1:9").graphql("{ version }")
    with pytest.raises(WebserverError, match="write it as http://host:port"):
        Webserver("localhost:3000")


def test_a_day_is_published_only_once_every_asset_of_it_succeeded() -> None:
    one, two = date(2026, 1, 1), date(2026, 1, 2)
    both = frozenset({"raw", "daily"})
    backfill = Backfill(
        backfill_id="x",
        status="REQUESTED",
        assets=both,
        days=frozenset({one, two}),
        runs=(
            BackfillRun("1", "SUCCESS", both, frozenset({one})),
            BackfillRun("2", "SUCCESS", frozenset({"raw"}), frozenset({two})),
            BackfillRun("3", "FAILURE", frozenset({"daily"}), frozenset({two}), is_retried=True),
        ),
    )
    assert backfill.missing == {two}
    assert not backfill.is_finished  # Dagster starts the crashed run again
    assert describe_days([one, two, date(2026, 1, 9)]) == "2026-01-01 to 2026-01-02, 2026-01-09"
