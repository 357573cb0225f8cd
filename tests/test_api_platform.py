"""How the API runs: readiness, metrics, logs, outages, documentation, and its real process."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from typer.testing import CliRunner

from api import docs_page, observability
from api.app import create_app
from api.routes.health import migrated_to
from exports.masking import Role
from local import ports
from pipelines import serving
from pipelines.cli import app as command_line
from pipelines.settings import PROJECT_ROOT, Settings
from tests.api_client import (
    MINE,
    MY_EVENT,
    URL,
    Client,
    api_settings,
    bearer,
    fill,
    publish_day,
    running,
    until,
    with_client,
)

ADMIN = "/api/v1/admin"


@pytest.fixture(scope="module")
def settings(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> Settings:
    made = api_settings(make_settings, fresh_database, role_url)
    fill(made)
    publish_day(made, date(2026, 3, 1), {MY_EVENT: 250, 130: 7_700})  # a restatement
    return made


def test_administrators_see_how_far_and_how_proven_the_numbers_are(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        async def get(path: str) -> httpx.Response:
            return await client.get(ADMIN + path, headers=client.as_())

        fresh = (await get("/freshness")).json()
        daily = next(d for d in fresh["data"]["datasets"] if d["dataset"] == "daily_metrics")
        assert (daily["complete_through"], daily["gaps"]) == ("2026-03-03", ["2026-03-04"])
        assert fresh["meta"]["data_version"]
        page = (await get("/restatements?metric=gross_revenue")).json()
        changed = page["data"][0]
        assert changed["old_value"] == {"minor": 100, "decimal": "1.00"}
        assert changed["new_value"] == {"minor": 250, "decimal": "2.50"}
        assert (changed["event_id"], changed["partition_key"]) == (str(MY_EVENT), "2026-03-01")
        seen = []
        before = ""
        while True:
            page = (await get(f"/restatements?limit=2{before}")).json()
            seen += [row["metric"] for row in page["data"]]
            if page["meta"]["next_before"] is None:
                break
            before = f"&before={page['meta']['next_before']}"
        assert sorted(seen) == ["face_value", "gross_revenue", "net_sales", "ticket_revenue"]
        proof = (await get("/reconciliation?now=true")).json()["data"]
        assert (proof["is_proven"], proof["differing_partitions"]) == (True, 0)
        assert any(hop["hop"] == "daily_metrics -> postgres" for hop in proof["hops"])
        with psycopg.connect(settings.warehouse_owner_url.get_secret_value()) as owner:
            owner.execute(
                "UPDATE reporting.event_summary SET requests = requests + 1 WHERE event_id = 120"
            )
        proof = (await get("/reconciliation?now=true")).json()["data"]
        assert (proof["is_proven"], proof["differing_partitions"]) == (False, 1)
        with psycopg.connect(settings.warehouse_owner_url.get_secret_value()) as owner:
            owner.execute("UPDATE reporting.event_summary SET requests = 0")
        indexes = (await get("/database/indexes")).json()["data"]
        assert {table["table_name"] for table in indexes["tables"]} >= {"daily_metrics"}
        assert any(index["is_primary_key"] for index in indexes["indexes"])
        definitions = (await client.get("/api/v1/definitions", headers=client.as_())).json()
        assert {m["name"] for m in definitions["data"]["metrics"]} >= {"organizer_net"}

    with_client(settings, ask)


def test_readiness_says_what_is_missing(
    settings: Settings, fresh_database: Callable[..., str], role_url: Callable[[str, str], str]
) -> None:
    async def ask(client: Client) -> httpx.Response:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        return await client.get("/readyz")

    ready = with_client(settings, ask)
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    empty = role_url(fresh_database(connects=["boxoffice_reader"]), "boxoffice_reader")
    bare = settings.model_copy(update={"warehouse_reader_url": SecretStr(empty)})
    unready = with_client(bare, ask)
    assert unready.status_code == 503
    assert unready.json()["checks"]["postgres"] != "ok"
    revise = b"UPDATE ops.alembic_version SET version_num = %s"
    with psycopg.connect(owner_url := settings.warehouse_owner_url.get_secret_value()) as owner:
        owner.execute(revise, ["0003"])
    try:
        behind = with_client(settings, ask)
    finally:
        with psycopg.connect(owner_url) as owner:
            owner.execute(revise, [migrated_to()])
    assert behind.status_code == 503
    assert "boxoffice migrate" in behind.json()["checks"]["migrations"]


def test_metrics_are_complete_and_their_labels_bounded(settings: Settings) -> None:
    async def ask(client: Client) -> str:
        for path in (URL, "/sample/events/120", "/sample/events/999", "/nowhere/else/1", ADMIN):
            await client.get(path, headers=client.as_(Role.ORGANIZER, MINE))
        await client.get(f"{ADMIN}/freshness", headers=client.as_(Role.ORGANIZER, MINE))
        await client.get(URL)
        return (await client.get("/metrics")).text

    text = with_client(settings, ask)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    routes = {s.labels["route"] for s in families["boxoffice_api_requests"].samples}
    assert routes == {
        *("/sample/revenue", "/sample/events/{event}", f"{ADMIN}/freshness"),
        "unmatched",
    }
    refused = {
        s.labels["by"]: s.value
        for s in families["boxoffice_api_refused"].samples
        if s.name.endswith("_total")
    }
    assert refused == {"policy": 1, "token": 1}
    for name in (
        "boxoffice_api_request_seconds",
        "boxoffice_api_cache",
        "boxoffice_api_pool_connections",
        "boxoffice_publication_age_seconds",
        "boxoffice_days_behind",
        "boxoffice_partitions",
    ):
        assert families[name].samples, name
    assert families["boxoffice_warehouse_up"].samples[0].value == 1
    for name in (
        "boxoffice_reconciliation_differing_partitions",
        "boxoffice_export_jobs",
        "boxoffice_late_days_waiting",
        "boxoffice_quarantined_rows",
        "boxoffice_lateness_seconds",
    ):
        assert f"# TYPE {name} gauge" in text


def test_a_logged_error_of_postgres_says_where_and_never_what_the_row_held(
    settings: Settings,
) -> None:
    lines, buyer = observability.JsonLines(), "jane@example.org"
    with psycopg.connect(settings.warehouse_owner_url.get_secret_value()) as connection:
        connection.execute("CREATE TEMP TABLE buyers (email text CONSTRAINT known CHECK (false))")
        try:
            try:
                connection.execute("INSERT INTO buyers VALUES (%s)", [buyer])
            except psycopg.Error as error:
                raise RuntimeError(f"could not be stored: {error}") from error
        except RuntimeError:
            record = logging.getLogger("boxoffice.api").makeRecord(
                "boxoffice.api", logging.ERROR, __file__, 1, "broken", (), sys.exc_info()
            )
    line = json.loads(lines.format(record))
    assert buyer not in line["traceback"]
    assert "CheckViolation 23514, constraint known" in line["traceback"]
    assert "RuntimeError" in line["traceback"]
    assert __name__.rpartition(".")[2] in line["traceback"]


def test_requests_have_ids_and_lines_without_personal_data(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(observability.sys, "stderr", stream)
    logged = settings.model_copy(update={"api_access_log": True})
    token = bearer(settings, Role.ORGANIZER, MINE, "jane@example.org")["Authorization"]

    async def ask(client: Client) -> None:
        headers = {"Authorization": token}
        given = await client.get(URL, headers=headers | {"X-Request-ID": "trace-1"})
        assert given.headers["x-request-id"] == "trace-1"
        made = await client.get(
            "/sample/events/120?email=joe@x.org", headers=headers | {"X-Request-ID": 'a"b c'}
        )
        assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])
        broken = await client.get("/sample/broken", headers=headers)
        assert broken.status_code == 500
        assert "secret-of-the-code" not in broken.text
        assert broken.json()["type"] == "urn:boxoffice:problem:internal"

    with_client(logged, ask)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["route"] for line in lines] == [
        *("/sample/revenue", "/sample/events/{event}", "/sample/broken"),
    ]
    assert lines[0]["request_id"] == "trace-1"
    assert [line["status"] for line in lines] == [200, 422, 500]
    for personal in ("jane", "joe", token.split()[1]):
        assert personal not in stream.getvalue()


def test_the_documentation_needs_nothing_from_elsewhere(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        document = (await client.get("/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        operation = document["paths"]["/sample/revenue"]["get"]
        assert operation["security"] == [{"bearer": []}]
        assert operation["responses"]["429"]["content"].keys() == {"application/problem+json"}
        assert document["components"]["schemas"]["Problem"]["properties"]["errors"]
        page = (await client.get("/docs")).text
        assert "/sample/revenue" in page
        assert not re.search(r"""(src|href)=["']?(https?:)?//|url\(|@import""", page)
        assert "<script" not in page
        whole = docs_page.page(create_app(settings).openapi())
        assert "<code>type</code> *" in whole  # the body of an export
        assert """--json &#39;{&#34;type&#34;:&#34;…&#34;}&#39;""" in whole
        assert "`" not in whole

    with_client(settings, ask)


@asynccontextmanager
async def proxy(target: str) -> AsyncIterator[tuple[int, Callable[[], None], Callable[[], object]]]:
    """A way to Postgres that can be cut and mended: port, cut, mend."""
    parts = urlsplit(target)
    open_writers: set[asyncio.StreamWriter] = set()
    port = ports.choose(28500)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            open_writers.discard(writer)
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)

    def cut() -> None:
        server.close()
        for writer in tuple(open_writers):
            writer.transport.abort()

    async def mend() -> None:
        nonlocal server
        server = await asyncio.start_server(serve, "127.0.0.1", port)

    try:
        yield port, cut, mend
    finally:
        cut()


def test_it_says_that_postgres_is_away_and_is_right_again_by_itself(settings: Settings) -> None:
    assert settings.warehouse_reader_url is not None
    url = settings.warehouse_reader_url.get_secret_value()

    async def run() -> None:
        async with proxy(url) as (port, cut, mend):
            through = SecretStr(url.replace(f":{urlsplit(url).port}/", f":{port}/"))
            async with running(
                settings.model_copy(update={"warehouse_reader_url": through})
            ) as client:
                headers = client.as_(Role.ORGANIZER, MINE)

                async def status() -> int:
                    return (await client.get(URL, headers=headers)).status_code

                assert await status() == 200
                cut()
                await until(lambda: client.app.state.services.database.publications.is_away)
                began = time.perf_counter()
                away = await client.get(URL, headers=headers)
                assert time.perf_counter() - began < 1
                assert (away.status_code, away.headers["retry-after"]) == (503, "2")
                assert away.json()["type"] == "urn:boxoffice:problem:unavailable"
                assert (await client.get("/readyz")).status_code == 503
                assert (await client.get("/healthz")).status_code == 200
                made = mend()
                assert asyncio.iscoroutine(made)
                await made

                async def is_back() -> bool:
                    return await status() == 200

                await until(is_back)
                assert (await client.get("/readyz")).status_code == 200

    asyncio.run(run())


def test_the_real_process_serves_and_stops_gracefully(settings: Settings) -> None:
    port = ports.choose(28700)
    names = (
        "warehouse_url",
        "warehouse_owner_url",
        "warehouse_reader_url",
        "api_token_secret",
        "source_url",
        "lake_catalog_url",
        "dagster_url",
        "redis_url",
        "buyer_key_secret",
    )
    variables = {
        f"BOXOFFICE_{name.upper()}": getattr(settings, name).get_secret_value() for name in names
    }
    environment = os.environ | variables | {"BOXOFFICE_API_WORKERS": "2"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "api", "--port", str(port)],
        cwd=PROJECT_ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            asyncio.run(until(lambda: _answers(client), 60))
            headers = bearer(settings, Role.ADMIN)
            fresh = client.get(f"{ADMIN}/freshness", headers=headers)
            assert fresh.status_code == 200
            assert client.get(f"{ADMIN}/freshness").status_code == 401
            metrics = client.get("/metrics").text
            for status in (200, 401):
                labels = f'method="GET",route="{ADMIN}/freshness",status="{status}"'
                assert f"boxoffice_api_requests_total{{{labels}}} 1.0" in metrics
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    reader.join(10)
    logged = [json.loads(line) for line in lines]
    assert any(line.get("route") == f"{ADMIN}/freshness" for line in logged)
    assert not any(headers["Authorization"].split()[1] in line for line in lines)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_command_line_mints_tokens_and_says_what_is_wrong(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "load_settings", lambda: settings)
    runner = CliRunner()
    minted = runner.invoke(
        command_line, ["token", "--role", "organizer", "--organizer", "12", "--account", "a@b"]
    )
    assert minted.exit_code == 0
    headers = {"Authorization": f"Bearer {minted.output.strip()}"}

    async def ask(client: Client) -> int:
        return (await client.get(URL, headers=headers)).status_code

    assert with_client(settings, ask) == 200
    contradicting = ["--role", "admin", "--organizer", "1"]
    for wrong in (["--role", "organizer"], ["--role", "root"], contradicting):
        assert runner.invoke(command_line, ["token", "--account", "a", *wrong]).exit_code == 1
    unsafe = settings.model_copy(update={"environment": "production"})
    monkeypatch.setattr(serving, "load_settings", lambda: unsafe)
    assert runner.invoke(command_line, ["api"]).exit_code == 1
