"""An export ends once, with one complete file or none, whatever breaks on the way."""

from __future__ import annotations

import csv
import io
import itertools
import random
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID, uuid4

import dagster as dg
import polars as pl
import psycopg
import pytest

from assets.exports import EXPORT, EXPORT_FILES, EXPORT_OP
from exports import attempt as attempts
from exports import newest
from exports.attempt import Exporter, ExportFailedError, attempt_export
from exports.housekeeping import clean_exports
from exports.masking import MASK, Requester, Role
from exports.naming import manifest_key
from exports.spill import spill
from exports.submission import checked
from local import ports
from local.servers import EmbeddedS3
from local.ticketing.seed import seed
from metrics.calendar import DayRange
from pipelines.definitions import build_exporter, build_resources
from resources.bucket import Bucket
from resources.extraction import extract
from resources.source_contract import DAILY_FACTS
from tests import export_worker
from tests.deployment import SQL, Deployment
from tests.faulty_s3 import Fault, FaultyS3
from tests.test_extraction import source_of
from warehouse.export_jobs import create_job, get_job, history, request_cancel
from warehouse.export_queue import next_queued, reap
from warehouse.export_states import Job, State
from warehouse.faults import ExportFaultPoint

TIME_ZONE = "Africa/Nairobi"
FIRST, LAST = date(2026, 2, 1), date(2026, 3, 10)
ADMIN = Requester(role=Role.ADMIN)
SEED = 20260301
UNFINISHED = (State.QUEUED, State.RUNNING)
BIG = 100_000
"""Tickets whose CSV needs several parts."""
MEGA = 1_200_000
"""More tickets than a sheet has rows."""
SHEET = re.compile(r"xl/worksheets/sheet[0-9]+\.xml")


@pytest.fixture(scope="module")
def deployment(make_deployment: Callable[..., Deployment], exports_bucket: str) -> Deployment:
    made = make_deployment(start_date=FIRST, exports_bucket=exports_bucket)
    seed(
        made.source_owner_url,
        orders=2_000,
        until=datetime(2026, 3, 10, 12, tzinfo=UTC),
        months=1,
        seed=7,
        time_zone=TIME_ZONE,
    )
    extract(made.lake, source_of(made), DayRange(TIME_ZONE, FIRST, LAST), DAILY_FACTS, "all")
    made.run("refresh_days", "2026-03-01", "2026-03-02")
    made.run("summarize_events")
    return made


@pytest.fixture(scope="module")
def exports_bucket(servers: Any) -> str:
    name = f"exports-{uuid4().hex[:8]}"
    servers.s3.create_buckets(name)
    return name


@pytest.fixture
def exporter(deployment: Deployment) -> Exporter:
    return build_exporter(deployment.settings)


@pytest.fixture
def connection(exporter: Exporter) -> Iterator[psycopg.Connection[Any]]:
    with exporter.connect() as opened:
        yield opened


def ask(
    connection: psycopg.Connection[Any],
    dataset: str = "attendees",
    *,
    requester: Requester = ADMIN,
    key: str | None = None,
    account: str = "amina",
    **options: Any,
) -> Job:
    request = checked(connection, account, requester, dataset, **options)
    return create_job(connection, request, key or uuid4().hex)[0]


_NUMBERS = itertools.count()


def unlike_any(event: int | None = None) -> dict[str, Any]:
    """A request for payments, or an event's attendees, that was never made: no file is shared."""
    until = {"last": str(LAST + timedelta(days=next(_NUMBERS)))}
    if event is None:
        return {"dataset": "payments", "filters": {"confirmed": until}}
    return {"dataset": "attendees", "filters": {"events": [event], "sold": until}}


def work(exporter: Exporter, job: Job, attempt: int = 1) -> Job:
    return attempt_export(exporter, job.job_id, attempt, uuid4().hex, lambda _: None).job


def files_of(bucket: Bucket, job: Job) -> list[str]:
    """Objects of a job, of every attempt."""
    return [key for key in bucket.list_keys("exports/") if str(job.job_id) in key]


def end_lease(deployment: Deployment, job: Job) -> None:
    """The time of a running job's lease is over."""
    owner = deployment.settings.warehouse_owner_url.get_secret_value()
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(
            "UPDATE ops.export_jobs SET lease_until = clock_timestamp() - interval '1 s'"
            " WHERE job_id = %s AND state = 'running'",
            (job.job_id,),
        )


def lose(deployment: Deployment, job: Job) -> Job:
    """The lease runs out and the reaper comes by."""
    end_lease(deployment, job)
    with build_exporter(deployment.settings).connect() as connection:
        reap(
            connection,
            max_attempts=3,
            retry_after=timedelta(0),
            begin_within=timedelta(hours=1),
        )
        return get_job(connection, job.job_id)


def assert_one_file_or_none(exporter: Exporter, job: Job) -> None:
    """After the sweep: exactly file and manifest of a job that succeeded, nothing of another."""
    with exporter.connect() as connection:
        clean_exports(connection, exporter.bucket, exporter.spill_directory)
        job = get_job(connection, job.job_id)
        ends = [e for e in history(connection, job.job_id) if e.to_state not in UNFINISHED]
    expected = [] if job.file_key is None else [job.file_key, manifest_key(job.file_key)]
    assert files_of(exporter.bucket, job) == expected
    assert exporter.bucket.open_uploads() == []
    assert len(ends) == 1, "exactly one terminal state"
    if job.file_key is not None:
        content = b"".join(exporter.bucket.read_chunks(job.file_key))
        assert job.manifest is not None
        assert len(content) == job.bytes == job.manifest["file"]["bytes"]


def rows_of(exporter: Exporter, job: Job) -> list[dict[str, str]]:
    assert job.file_key is not None
    text = exporter.bucket.read_bytes(job.file_key).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_a_queued_export_becomes_a_run_that_writes_exactly_the_rows_asked_for(
    deployment: Deployment, exporter: Exporter, connection: psycopg.Connection[Any]
) -> None:
    job = ask(connection, "orders", filters={"status": ["completed"]})
    sensor = deployment.definitions.resolve_sensor_def("export_requests")
    with dg.build_sensor_context(
        instance=deployment.instance, resources=build_resources(deployment.settings)
    ) as context:
        tick = sensor.evaluate_tick(context)
    [request] = [r for r in tick.run_requests or [] if r.run_key == f"{job.job_id}:1"]
    assert "amina" not in str(request), "runs do not name accounts"
    assert request.tags["boxoffice/for"] == "admin"
    result = deployment.definitions.resolve_job_def(EXPORT).execute_in_process(
        instance=deployment.instance, run_config=request.run_config, tags=request.tags
    )
    assert result.success
    job = get_job(connection, job.job_id)
    assert job.state is State.SUCCEEDED
    found = rows_of(exporter, job)
    with psycopg.connect(deployment.source_owner_url) as source:
        [row] = source.execute(
            "SELECT count(*), sum(total_minor) FROM orders WHERE NOT is_test"
            " AND completed_at IS NOT NULL AND status = 'completed'"
        ).fetchall()
    assert (len(found), job.rows_total, job.rows_written) == (row[0], row[0], row[0])
    assert job.manifest is not None
    totals = job.manifest["totals"]["money"]
    assert sum(sums["total"]["minor_units"] for sums in totals.values()) == row[1]
    [event] = result.get_asset_materialization_events()
    shown = event.materialization.metadata
    assert event.asset_key == dg.AssetKey(EXPORT_FILES)
    assert shown["dagster/row_count"].value == row[0]
    assert "amina" not in str(shown)
    assert next_queued(connection, 10) == []


@pytest.mark.parametrize(
    ("format_name", "point"),
    [
        *(("csv", point) for point in ExportFaultPoint),
        ("xlsx", ExportFaultPoint.RENDERING),  # with a temporary file
        ("xlsx", ExportFaultPoint.UPLOADED),
    ],
)
def test_a_run_killed_at_any_moment_leaves_one_end_and_one_file(
    deployment: Deployment,
    exporter: Exporter,
    connection: psycopg.Connection[Any],
    point: ExportFaultPoint,
    format_name: str,
    big_event: int,
) -> None:
    job = ask(connection, format_name=format_name, **unlike_any(big_event))
    assert export_worker.start(deployment.settings, job.job_id, 1, kill_at=point).wait() == -9
    if point is ExportFaultPoint.FINISHED:
        assert get_job(connection, job.job_id).state is State.SUCCEEDED
    else:
        assert lose(deployment, job).state is State.QUEUED
        assert work(exporter, job, 2).state is State.SUCCEEDED
    assert_one_file_or_none(exporter, job)


@pytest.fixture(scope="module")
def events(deployment: Deployment) -> list[int]:
    """Published events of the platform that admit people, each with a ticket type."""
    with deployment.lake.session() as lake:
        found = lake.execute(
            "SELECT DISTINCT event_id FROM lake.raw_ticket_types WHERE kind = 'admission'"
            " ORDER BY 1"
        ).fetchall()
    return [row[0] for row in found]


def fill(deployment: Deployment, event: int, tickets: int) -> None:
    """Sell that many more tickets of an event, straight into the lake."""
    statements = (SQL / "fill_event.sql").read_text()
    with deployment.lake.session() as lake, deployment.lake.commit(lake):
        lake.execute(statements.replace("$event", str(event)).replace("$tickets", str(tickets)))


@pytest.fixture(scope="module")
def big_event(deployment: Deployment, events: list[int]) -> int:
    fill(deployment, events[0], BIG)
    return events[0]


@pytest.fixture(scope="module")
def mega_event(deployment: Deployment, events: list[int]) -> int:
    """An event with more tickets than a sheet has rows."""
    fill(deployment, events[1], MEGA)
    return events[1]


def test_an_attempt_that_outlives_its_lease_changes_nothing(
    deployment: Deployment, exporter: Exporter, connection: psycopg.Connection[Any]
) -> None:
    job = ask(connection, **unlike_any())
    outlived = export_worker.start(
        deployment.settings, job.job_id, 1, hold_at=ExportFaultPoint.UPLOADED
    )
    outlived.wait_until_reached()
    assert lose(deployment, job).state is State.QUEUED
    finished = work(exporter, job, 2)
    outlived.go_on()
    assert outlived.wait() != 0
    assert get_job(connection, job.job_id) == finished
    assert files_of(exporter.bucket, job) == [
        finished.file_key,
        manifest_key(str(finished.file_key)),
    ], "the first attempt removed its own file, and only that"
    assert_one_file_or_none(exporter, job)


def test_a_job_whose_every_run_is_lost_fails_with_a_reason(
    deployment: Deployment, exporter: Exporter, connection: psycopg.Connection[Any]
) -> None:
    job = ask(connection, **unlike_any())
    for attempt in (1, 2, 3):
        killed = export_worker.start(
            deployment.settings, job.job_id, attempt, kill_at=ExportFaultPoint.RENDERING
        )
        assert killed.wait() == -9
        job = lose(deployment, job)
    assert job.state is State.FAILED
    assert job.error is not None
    assert "did not finish in 3 attempts" in job.error
    assert_one_file_or_none(exporter, job)


def test_cancelling_stops_a_running_export_and_leaves_no_file(
    deployment: Deployment, exporter: Exporter, connection: psycopg.Connection[Any], big_event: int
) -> None:
    job = ask(connection, **unlike_any(big_event))
    running = export_worker.start(
        deployment.settings, job.job_id, 1, hold_at=ExportFaultPoint.RENDERING
    )
    running.wait_until_reached()
    assert request_cancel(connection, job.job_id).state is State.RUNNING
    running.go_on()
    assert running.wait() == 0
    assert get_job(connection, job.job_id).state is State.CANCELLED
    assert_one_file_or_none(exporter, job)


def test_a_cancel_that_races_with_the_end_has_one_outcome(
    exporter: Exporter, connection: psycopg.Connection[Any]
) -> None:
    chance = random.Random(SEED)
    for _ in range(6):
        job = ask(connection, **unlike_any())
        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(work, exporter, job)
            time.sleep(chance.uniform(0.2, 1.2))
            asked = request_cancel(connection, job.job_id)
            ended = working.result()
        assert ended.state in (State.SUCCEEDED, State.CANCELLED), f"seed {SEED}"
        if asked.state is not State.SUCCEEDED:
            assert ended.state is State.CANCELLED, f"seed {SEED}: cancelling is binding"
        assert_one_file_or_none(exporter, job)


def test_fifty_equal_requests_at_once_are_one_job(
    exporter: Exporter, connection: psycopg.Connection[Any]
) -> None:
    key = uuid4().hex

    def post(_: int) -> tuple[UUID, bool]:
        with exporter.connect() as own:
            request = checked(own, "amina", ADMIN, "payments")
            job, is_new = create_job(own, request, key)
            return job.job_id, is_new

    with ThreadPoolExecutor(50) as pool:
        posted = list(pool.map(post, range(50)))
    assert len({job_id for job_id, _ in posted}) == 1
    assert sum(is_new for _, is_new in posted) == 1
    assert work(exporter, get_job(connection, posted[0][0])).state is State.SUCCEEDED


def test_the_same_request_on_the_same_data_uses_one_file(
    exporter: Exporter, connection: psycopg.Connection[Any]
) -> None:
    first = work(exporter, ask(connection, "refunds"))
    second = work(exporter, ask(connection, "refunds", account="brenda"))
    assert (second.shared_from, second.file_key) == (first.job_id, first.file_key)
    assert files_of(exporter.bucket, second) == []
    # The file is gone though the job has it: a new one is made, with the same bytes.
    exporter.bucket.delete([str(first.file_key)])
    third = work(exporter, ask(connection, "refunds", account="carol"))
    assert third.file_key != first.file_key
    assert third.manifest is not None
    assert first.manifest is not None
    assert third.manifest["file"]["sha256"] == first.manifest["file"]["sha256"]


@pytest.mark.parametrize("format_name", ["csv", "xlsx", "pdf", "json", "ndjson", "parquet"])
def test_the_same_request_on_the_same_data_gives_the_same_bytes_in_every_format(
    exporter: Exporter, connection: psycopg.Connection[Any], format_name: str
) -> None:
    manifests = []
    for account in ("amina", "brenda"):
        job = work(exporter, ask(connection, "refunds", format_name=format_name, account=account))
        manifests.append(job.manifest or {})
        exporter.bucket.delete([str(job.file_key)])  # so that it is not shared
    one, other = manifests
    assert one["file"]["sha256"] == other["file"]["sha256"]


@pytest.mark.parametrize("format_name", ["csv", "xlsx"])
def test_the_mega_event_is_exported_whole(
    deployment: Deployment,
    exporter: Exporter,
    connection: psycopg.Connection[Any],
    mega_event: int,
    format_name: str,
) -> None:
    """Read range by range, in many parts of an upload, and on as many sheets as it takes."""
    assert_exported_whole(deployment, exporter, connection, mega_event, MEGA, format_name)


@pytest.mark.parametrize("format_name", ["json", "ndjson", "parquet"])
def test_an_event_of_several_ranges_is_exported_whole_in_every_other_format(
    deployment: Deployment,
    exporter: Exporter,
    connection: psycopg.Connection[Any],
    big_event: int,
    monkeypatch: pytest.MonkeyPatch,
    format_name: str,
) -> None:
    """They are given the same batches as CSV; where those come from they cannot tell."""
    monkeypatch.setattr(newest, "SLICE_ROWS", BIG // 4)
    assert_exported_whole(deployment, exporter, connection, big_event, BIG, format_name)


def assert_exported_whole(
    deployment: Deployment,
    exporter: Exporter,
    connection: psycopg.Connection[Any],
    event: int,
    at_least: int,
    format_name: str,
) -> None:
    columns = ["ticket_id", "attendee_name", "charged", "currency", "issued_at"]
    job = work(
        exporter,
        ask(connection, filters={"events": [event]}, columns=columns, format_name=format_name),
    )
    with deployment.lake.session() as lake:
        [counted] = lake.execute(
            "SELECT count(DISTINCT ticket_id) FROM lake.raw_tickets JOIN lake.raw_ticket_types"
            " USING (ticket_type_id) WHERE raw_tickets.event_id = ? AND kind = 'admission'"
            " AND NOT is_test",
            [event],
        ).fetchall()
    assert job.rows_total == counted[0] >= at_least
    assert rows_in(exporter, job) == counted[0]
    exporter.bucket.delete([str(job.file_key)])


def rows_in(exporter: Exporter, job: Job) -> int:
    """Rows of a file, as a reader of its format counts them."""
    content = exporter.bucket.read_bytes(str(job.file_key))
    match job.format:
        case "csv":
            return pl.read_csv(content, infer_schema=False).height
        case "ndjson":
            return content.count(b"\n")
        case "json":
            return len(pl.read_json(content).get_column("rows").item())
        case "parquet":
            return pl.read_parquet(content).height
        case _:
            with zipfile.ZipFile(io.BytesIO(content)) as book:
                sheets = [name for name in book.namelist() if SHEET.fullmatch(name)]
                counts = [book.read(name).count(b"<row ") for name in sheets]
            of_data = [count for count in counts if count > 100]  # the summary has a few lines
            assert len(of_data) == 2
            assert max(of_data) == 1_048_576
            return sum(of_data) - len(of_data)


def test_a_file_is_deleted_when_its_time_is_up_and_nothing_else_is(
    exporter: Exporter, connection: psycopg.Connection[Any]
) -> None:
    foreign = f"exports/2026-01-01/admin/{uuid4()}/1/not-ours.csv"
    exporter.bucket.put_bytes(foreign, b"kept", content_type="text/csv")
    kept = work(exporter, ask(connection, **unlike_any()))
    gone = work(replace(exporter, keep=timedelta(0)), ask(connection, **unlike_any()))
    cleaned = clean_exports(connection, exporter.bucket, exporter.spill_directory)
    assert (cleaned.expired, cleaned.files, cleaned.foreign) == (1, 1, 1)
    assert files_of(exporter.bucket, gone) == []
    assert len(files_of(exporter.bucket, kept)) == 2
    assert exporter.bucket.read_bytes(foreign) == b"kept"
    expired = get_job(connection, gone.job_id)
    assert (expired.state, expired.file_key) == (State.EXPIRED, None)
    assert expired.manifest == gone.manifest
    exporter.bucket.delete([foreign])


def test_personal_data_leaves_clear_only_with_a_reason_and_is_recorded(
    exporter: Exporter, connection: psycopg.Connection[Any], events: list[int]
) -> None:
    filters, columns = {"events": events[2:4]}, ["ticket_id", "attendee_email"]
    masked = work(exporter, ask(connection, filters=filters, columns=columns))
    assert {row["Attendee email"] for row in rows_of(exporter, masked)} <= {MASK, ""}
    reasoned = Requester(role=Role.SUPER_ADMIN, reason="a dispute of an organizer")
    clear = work(exporter, ask(connection, filters=filters, columns=columns, requester=reasoned))
    assert any("@" in row["Attendee email"] for row in rows_of(exporter, clear))
    logged = connection.execute(
        "SELECT job_id, actor, reason, row_count, clear_columns FROM ops.access_log"
    ).fetchall()
    assert [row["job_id"] for row in logged] == [clear.job_id], "masked exports are not recorded"
    assert logged[0]["reason"] == "a dispute of an organizer"
    assert logged[0]["row_count"] == clear.rows_total
    assert logged[0]["clear_columns"] == ["attendee_email"]


def test_an_event_that_was_given_to_another_organizer_meanwhile_is_not_exported(
    deployment: Deployment, exporter: Exporter, connection: psycopg.Connection[Any]
) -> None:
    with deployment.lake.session() as lake:
        [(event, organizer)] = lake.execute(
            "SELECT event_id, organizer_id FROM lake.raw_events ORDER BY event_id DESC LIMIT 1"
        ).fetchall()
    own = Requester(role=Role.ORGANIZER, organizer_id=organizer)
    job = ask(connection, requester=own, filters={"events": [event]})
    with deployment.lake.session() as lake, deployment.lake.commit(lake):
        lake.execute(
            "UPDATE lake.raw_events SET organizer_id = organizer_id + 1 WHERE event_id = ?", [event]
        )
    config = {"job_id": str(job.job_id), "attempt": 1}
    result = deployment.definitions.resolve_job_def(EXPORT).execute_in_process(
        instance=deployment.instance,
        run_config={"ops": {EXPORT_OP: {"config": config}}},
        raise_on_error=False,
    )
    job = get_job(connection, job.job_id)
    assert not result.success
    [failure] = [e.step_failure_data for e in result.all_events if e.is_step_failure]
    assert f"there is no event {event}" in str(failure.user_failure_data), "the UI says why"
    assert job.state is State.FAILED
    assert job.error is not None
    assert f"there is no event {event}" in job.error
    with deployment.lake.session() as lake, deployment.lake.commit(lake):
        lake.execute(
            "UPDATE lake.raw_events SET organizer_id = organizer_id - 1 WHERE event_id = ?", [event]
        )
    assert_one_file_or_none(exporter, job)


def test_a_full_disk_fails_the_attempt_with_a_reason_and_leaves_nothing(
    deployment: Deployment, exporter: Exporter, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    job = ask(connection, format_name="xlsx", **unlike_any())
    free = shutil.disk_usage(tmp_path).free

    @contextmanager
    def full(directory: Path | None, expected: int) -> Iterator[BinaryIO]:
        with spill(tmp_path, expected, reserve_bytes=free * 2) as file:
            yield file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts, "spill", full)
        with pytest.raises(ExportFailedError, match="temporary file"):
            work(exporter, job)
    job = get_job(connection, job.job_id)
    assert (job.state, job.attempt) == (State.QUEUED, 1), "another attempt may find space"
    assert list(tmp_path.iterdir()) == []
    assert work(exporter, job, 2).state is State.SUCCEEDED
    assert_one_file_or_none(exporter, job)


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[EmbeddedS3]:
    """A store that a test may stop."""
    store = EmbeddedS3(tmp_path / "s3", ports.choose(29500))
    store.start()
    try:
        yield store
    finally:
        store.stop()


def test_an_export_waits_for_a_store_that_is_gone_for_a_while(
    exporter: Exporter, connection: psycopg.Connection[Any], own_s3: EmbeddedS3, big_event: int
) -> None:
    own_s3.create_buckets("elsewhere")
    elsewhere = replace(
        exporter,
        bucket=replace(
            exporter.bucket,
            name="elsewhere",
            endpoint_url=own_s3.endpoint_url,
            access_key_id=own_s3.access_key_id,
            secret_access_key=own_s3.password,
        ),
    )
    job = ask(connection, **unlike_any(big_event))
    own_s3.stop()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work, elsewhere, job)
        time.sleep(5)
        assert not working.done()
        own_s3.start()
        job = working.result()
    assert job.state is State.SUCCEEDED
    assert_one_file_or_none(elsewhere, job)


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.CUT_REQUEST, Fault.LOST_ANSWER])
def test_a_store_that_stumbles_still_gets_one_whole_file(
    exporter: Exporter, connection: psycopg.Connection[Any], big_event: int, fault: Fault
) -> None:
    with FaultyS3(str(exporter.bucket.endpoint_url)).running() as store:
        rule = store.fail(fault, lambda method, _: method in ("PUT", "POST"), times=3)
        stumbling = replace(exporter, bucket=replace(exporter.bucket, endpoint_url=store.url))
        job = work(stumbling, ask(connection, **unlike_any(big_event)))
        assert rule.met == 3
    assert job.state is State.SUCCEEDED
    assert_one_file_or_none(exporter, job)


def test_a_store_that_goes_on_failing_ends_the_attempt_and_the_next_one_succeeds(
    exporter: Exporter, connection: psycopg.Connection[Any], big_event: int
) -> None:
    job = ask(connection, **unlike_any(big_event))
    with FaultyS3(str(exporter.bucket.endpoint_url)).running() as store:
        store.fail(Fault.ERROR, lambda method, _: method == "PUT", times=10**6)
        bucket = replace(exporter.bucket, endpoint_url=store.url, retry_seconds=1)
        with pytest.raises(ExportFailedError, match="bucket exports-"):
            work(replace(exporter, bucket=bucket), job)
    waiting = get_job(connection, job.job_id)
    assert (waiting.state, waiting.rows_written) == (State.QUEUED, 0)
    assert files_of(exporter.bucket, job) == []
    assert work(exporter, job, 2).state is State.SUCCEEDED
    assert_one_file_or_none(exporter, job)


def test_reaper_and_housekeeping_run_in_dagster_and_say_what_they_did(
    deployment: Deployment, exporter: Exporter, connection: psycopg.Connection[Any]
) -> None:
    gone = work(replace(exporter, keep=timedelta(0)), ask(connection, **unlike_any()))
    lost = ask(connection, **unlike_any())
    killed = export_worker.start(
        deployment.settings, lost.job_id, 1, kill_at=ExportFaultPoint.UPLOADED
    )
    assert killed.wait() == -9
    end_lease(deployment, lost)
    resources = build_resources(deployment.settings)
    with dg.build_sensor_context(instance=deployment.instance, resources=resources) as context:
        reaper = deployment.definitions.resolve_sensor_def("export_reaper")
        said = reaper.evaluate_tick(context).skip_message
    assert said == f"export {lost.job_id} lost attempt 1 and is queued again"
    assert len(files_of(exporter.bucket, lost)) == 2
    cleaned = deployment.run("clean_exports")
    assert cleaned.success
    assert get_job(connection, gone.job_id).state is State.EXPIRED
    assert files_of(exporter.bucket, gone) == files_of(exporter.bucket, lost) == []
