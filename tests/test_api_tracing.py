"""Traces: spans reach a collector, and say what happened and nothing of whom."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from typer.testing import CliRunner

from api import redis_link
from api.app import build_services
from exports.masking import Role
from local import ports
from pipelines import serving
from pipelines.cli import app as command_line
from pipelines.settings import PROJECT_ROOT, Settings
from tests.api_client import MINE, URL, Client, bearer, with_client

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Receives OTLP over HTTP."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Receiver)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> list[Span]:
        """What was received, the oldest first."""
        found: list[Span] = []
        for path, body in self.received:
            assert path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                named = {each.key: each.value.string_value for each in resource.resource.attributes}
                assert named["service.name"] == "boxoffice-api"
                for scope in resource.scope_spans:
                    assert scope.scope.name == "boxoffice.api", "and nobody else's spans"
                    found += scope.spans
        return sorted(found, key=lambda span: span.start_time_unix_nano)


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def settings(sample_settings: Settings) -> Settings:
    return sample_settings


def traced(settings: Settings, endpoint: str) -> Settings:
    return settings.model_copy(update={"otel_exporter_otlp_endpoint": endpoint})


def said(span: Span) -> dict[str, Any]:
    """Attributes of a span."""
    return {
        each.key: getattr(each.value, str(each.value.WhichOneof("value")))
        for each in span.attributes
    }


def test_spans_say_what_happened_and_nothing_of_whom(
    settings: Settings, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "BUDGET_SECONDS", 5.0)
    # FastAPI's own telemetry would have paths and queries; it stays off.
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    token = bearer(settings, Role.ORGANIZER, MINE, "jane@example.org")["Authorization"]

    async def ask(client: Client) -> None:
        headers = {"Authorization": token}
        parent = headers | {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        assert (await client.get(URL, headers=parent)).status_code == 200
        await client.app.state.services.cache.settle()
        assert (await client.get(URL, headers=headers)).status_code == 200
        for path, status in (
            ("/sample/events/120?email=joe@x.org", 422),
            ("/sample/events/99887766", 404),
            ("/sample/broken", 500),
            ("/people/jane-doe", 404),
        ):
            assert (await client.get(path, headers=headers)).status_code == status
        assert (await client.get(URL, headers={"Authorization": "Bearer x"})).status_code == 401

    with_client(traced(settings, collector.url), ask)
    spans = collector.spans()
    requests = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    names = [span.name for span in requests]
    assert names == [
        *["GET /sample/revenue"] * 2,
        *["GET /sample/events/{event}"] * 2,
        *("GET /sample/broken", "GET unmatched", "GET /sample/revenue"),
    ]
    statuses = [said(span)["http.response.status_code"] for span in requests]
    assert statuses == [200, 200, 422, 404, 500, 404, 401]
    outcomes = [said(span).get("boxoffice.cache") for span in requests]
    assert outcomes == ["misses", "hits", "misses", "misses", "bypassed", None, None]
    assert [said(span)["boxoffice.role"] for span in requests[-3:]] == ["organizer", "none", "none"]
    failed = [span.status.code == Status.STATUS_CODE_ERROR for span in requests]
    assert failed == [False, False, False, False, True, False, False]
    # Below the caller's span, and what was done below the request's.
    first = requests[0]
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, PARENT)
    assert requests[1].trace_id != first.trace_id
    assert not requests[1].parent_span_id
    below = [span for span in spans if span.parent_span_id == first.span_id]
    assert {span.trace_id for span in below} == {first.trace_id}
    statements = " ".join(said(span).get("db.query.summary", "") for span in below).split()
    assert {"begin", "metrics_by_period"} <= set(statements)
    assert [span.name for span in spans if span.parent_span_id == requests[1].span_id] == [
        "rate limit and cache"
    ]
    everything = b"".join(body for _, body in collector.received)
    private = ("jane", "joe", "99887766", "2026-03", token.split()[1], "secret-of-the-code")
    for value in (*private, settings.buyer_key_secret.get_secret_value()):
        assert value.encode() not in everything, value


def test_a_collector_that_is_away_holds_nothing_up(settings: Settings) -> None:
    began = time.monotonic()

    async def ask(client: Client) -> int:
        return (await client.get(URL, headers=client.as_(Role.ORGANIZER, MINE))).status_code

    away = f"http://127.0.0.1:{ports.choose(29990)}"
    assert with_client(traced(settings, away), ask) == 200
    assert time.monotonic() - began < 15


def test_without_a_collector_nothing_is_imported_and_no_span_made(settings: Settings) -> None:
    assert settings.otel_exporter_otlp_endpoint is None
    assert build_services(settings).tracing is None
    program = (
        "import sys; import api.app, api.routes.organizer_analytics;"
        # The Redis client imports the SDK's metrics where it is installed.
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk.trace.',"
        " 'opentelemetry.exporter', 'opentelemetry.proto'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_standard_variable_turns_it_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings.model_dump(exclude={"otel_exporter_otlp_endpoint"})
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    found = Settings(_env_file=None, **given)
    assert found.otel_exporter_otlp_endpoint == "http://collector:4318"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")
    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        Settings(_env_file=None, **given)


def test_the_start_says_that_the_extra_is_missing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)  # as if it were not there
    monkeypatch.setattr(serving, "load_settings", lambda: traced(settings, "http://127.0.0.1:4318"))
    result = CliRunner().invoke(command_line, ["api"])
    assert result.exit_code == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in result.output
    assert "box-office[tracing]" in result.output
