"""What operators do with exports on the command line, and what they are told."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from exports.attempt import attempt_export
from pipelines.cli import app
from pipelines.definitions import build_exporter
from tests.conftest import Servers
from tests.deployment import SQL, Deployment
from warehouse.export_queue import next_queued, request_run

SCHEMA = Path(__file__).parent.parent / "local" / "ticketing"


@pytest.fixture(scope="module")
def deployment(make_deployment: Callable[..., Deployment], servers: Servers) -> Deployment:
    bucket = f"exports-{uuid4().hex[:8]}"
    servers.s3.create_buckets(bucket)
    made = make_deployment(exports_bucket=bucket)
    made.source(SCHEMA / "schema.sql", SCHEMA / "indexes.sql", SQL / "golden.sql")
    made.run("refresh_days", "2024-01-10", "2024-01-11")
    made.run("summarize_events")
    return made


@pytest.fixture
def boxoffice(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr("pipelines.settings.get_settings", lambda: deployment.settings)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["export", *arguments])

    return run


@pytest.fixture
def worker(deployment: Deployment) -> Iterator[None]:
    """Makes the files that are asked for, as Dagster would."""
    exporter, stop = build_exporter(deployment.settings), threading.Event()

    def work() -> None:
        with exporter.connect() as connection:
            while not stop.wait(0.05):
                for queued in next_queued(connection, 1):
                    request_run(connection, queued)
                    attempt_export(exporter, queued.job_id, queued.attempt, "test", lambda _: None)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("worker")
def test_a_file_is_asked_for_downloaded_and_verified(
    boxoffice: Callable[..., Result], tmp_path: Path
) -> None:
    output = tmp_path / "orders.csv"
    made = boxoffice("request", "orders", "--output", str(output))
    assert made.exit_code == 0, made.output
    assert "orders as csv: succeeded, 1 of 1 rows" in made.output
    assert output.read_text().splitlines()[0].startswith('"Order ID"')
    assert list(tmp_path.iterdir()) == [output]
    job = made.output.split()[1]
    shown = boxoffice("show", job).output
    assert "finish (attempt 1, run test)" in shown
    verified = boxoffice("verify", job)
    assert verified.exit_code == 0
    assert hashlib.sha256(output.read_bytes()).hexdigest() in verified.output
    assert "X-Amz-Expires=300" in boxoffice("link", job, "--minutes", "5").output


@pytest.mark.usefixtures("worker")
def test_a_damaged_file_is_neither_verified_nor_downloaded(
    deployment: Deployment, boxoffice: Callable[..., Result], tmp_path: Path
) -> None:
    made = boxoffice("request", "payments")
    job, key = made.output.split()[1], made.output.split()[-3]
    bucket = build_exporter(deployment.settings).bucket
    bucket.put_bytes(key, bucket.read_bytes(key)[:-1] + b"!", content_type="text/csv")
    verified = boxoffice("verify", job)
    assert verified.exit_code == 1
    assert "do not use it" in verified.output
    fetched = boxoffice("download", job, str(tmp_path / "payments.csv"))
    assert fetched.exit_code == 1
    assert "SHA-256" in fetched.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["orders", "--filters", '{"evnts": [1]}'], "filters.evnts: is not a filter"),
        (["orders", "--filters", "{"], "--filters is not JSON"),
        (["tickets"], "'tickets' is not a dataset"),
        (["orders", "--format", "doc"], "'doc' is not a format"),
        (["orders", "--filters", '{"events": [4711]}'], "there is no event 4711"),
        (["orders", "--organizer", "1", "--reason", "x"], "leave out --organizer"),
    ],
)
def test_a_request_that_is_wrong_is_refused_with_what_is_wrong(
    boxoffice: Callable[..., Result], arguments: list[str], said: str
) -> None:
    refused = boxoffice("request", *arguments)
    assert refused.exit_code == 1
    assert said in refused.output


def test_a_recurring_export_is_made_paused_revoked_and_ended(
    boxoffice: Callable[..., Result],
) -> None:
    days = '{"days": {"relative": "yesterday"}}'
    made = boxoffice("recurring", "add", "daily_metrics", "--cron", "0 6 * * *", "--filters", days)
    assert made.exit_code == 0, made.output
    assert "next due" in made.output
    key, owner = made.output.split()[0], made.output.split("for ")[1].split()[0]
    assert key in boxoffice("recurring", "list").output
    assert f"paused by {owner}" in boxoffice("recurring", "pause", key).output
    assert boxoffice("recurring", "revoke", owner, "--reason", "left the company").exit_code == 0
    refused = boxoffice("recurring", "resume", key)
    assert refused.exit_code == 1
    assert "left the company" in refused.output
    boxoffice("recurring", "restore", owner)
    assert "paused" not in boxoffice("recurring", "resume", key).output
    assert boxoffice("recurring", "end", key).exit_code == 0
    assert "no recurring exports" in boxoffice("recurring", "list").output


@pytest.mark.usefixtures("worker")
def test_files_links_and_downloads_of_clear_personal_data_are_in_the_access_log(
    deployment: Deployment, boxoffice: Callable[..., Result], tmp_path: Path
) -> None:
    assert "The access log is empty." in boxoffice("access-log").output
    masked = boxoffice("request", "attendees").output.split()[1]
    assert boxoffice("link", masked).exit_code == 0
    assert "The access log is empty." in boxoffice("access-log").output
    clear = boxoffice("request", "attendees", "--reason", "dispute 7").output.split()[1]
    assert boxoffice("link", clear).exit_code == 0
    assert boxoffice("download", clear, str(tmp_path / "attendees.csv")).exit_code == 0
    assert "The access log is whole: 3 entries" in boxoffice("access-log").output
    found = deployment.rows("SELECT action, reason, job_id FROM ops.access_log ORDER BY entry")
    assert [row["action"] for row in found] == ["export", "link", "download"]
    assert {(row["reason"], str(row["job_id"])) for row in found} == {("dispute 7", clear)}


def test_asking_for_a_file_loads_no_engine() -> None:
    """A process of the read API asks, it makes no file: engines would double its memory."""
    check = (
        "import sys, exports.submission, warehouse.export_schedules;"
        "assert not {'polars', 'duckdb', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
