"""What an operator sees: metrics, one log line for each request, request ids.

Belongs here: the outermost layer of the application, the metrics and their names, and the shape of
log lines. Does not belong here: alert rules and dashboards (``deploy``).

Label values are bounded: routes are templates, never paths; statuses are numbers of HTTP. A log
line names the route's template too: a path or query could hold a name or an address. Accounts and
tokens are in no line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, TextIO

import psycopg
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.tracing import Tracing, cache_outcome

_LOG = logging.getLogger("boxoffice.api")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}", re.ASCII)
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_FLUSH_SECONDS = 0.2
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "boxoffice_api_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "boxoffice_api_request_seconds",
            "Time until the last byte was handed over.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._refused = Counter(
            "boxoffice_api_refused",
            "Requests refused before their endpoint, by what refused them.",
            ["by"],
            registry=self.registry,
        )
        self.local_limits = Counter(
            "boxoffice_api_local_rate_limits",
            "Requests counted by this worker alone, because Redis did not answer.",
            registry=self.registry,
        )
        self._cached = Counter(
            "boxoffice_api_cache",
            "Answers by what the cache did: hits, held (by this worker, while Redis did not "
            "answer), misses, shared (computed once for several), garbage, stored, not_stored, "
            "bypassed.",
            ["outcome"],
            registry=self.registry,
        )
        self._cache_children: dict[str, Any] = {}
        self._request_children: dict[tuple[str, str, int], Any] = {}
        self._second_children: dict[str, Any] = {}

    def refused(self, by: str) -> None:
        """Count a refusal by ``token``, ``policy`` or ``rate limit``."""
        self._refused.labels(by).inc()

    def cached(self, outcome: str) -> None:
        """Count what the cache did, and say it on the request's span."""
        if outcome not in ("stored", "not_stored"):  # afterwards
            cache_outcome(outcome)
        child = self._cache_children.get(outcome)
        if child is None:
            child = self._cache_children[outcome] = self._cached.labels(outcome)
        child.inc()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        key = (method, route, status)
        child = self._request_children.get(key)
        if child is None:
            child = self._request_children[key] = self._requests.labels(method, route, str(status))
        child.inc()
        timer = self._second_children.get(route)
        if timer is None:
            timer = self._second_children[route] = self._seconds.labels(route)
        timer.observe(seconds)


class Collected:
    """A collector that gives what was read just before."""

    def __init__(self, families: Iterable[Metric]) -> None:
        """Take them."""
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        """Give them."""
        return self._families


def gauge(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    """A gauge with a value for each combination of labels."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for found, value in values:
        family.add_metric(found, value)
    return family


def counter(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    """A counter with a value for each combination of labels."""
    family = CounterMetricFamily(name, text, labels=labels)
    for found, value in values:
        family.add_metric(found, value)
    return family


class AccessLog:
    """A line for each request, written a few times a second: one by one they cost a fifth of it.

    Args:
        stream: where to; standard error if not given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write nothing yet."""
        self._stream = stream
        self._lines: list[str] = []

    def add(
        self,
        request_id: str,
        method: str,
        route: str,
        status: int,
        seconds: float,
        role: str,
        trace: str = "",
    ) -> None:
        """Add a line; none of its texts needs escaping."""
        traced = f', "trace_id": "{trace}"' if trace else ""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        self._lines.append(
            f'{{"at": "{at}", "level": "info", "logger": "boxoffice.api.access", '
            f'"request_id": "{request_id}", "method": "{method}", "route": "{route}", '
            f'"status": {status}, "milliseconds": {seconds * 1000:.2f}, "role": "{role}"'
            f"{traced}}}\n"
        )

    def flush(self) -> None:
        """Write what waits."""
        lines, self._lines = self._lines, []
        stream = self._stream or sys.stderr
        stream.write("".join(lines))
        stream.flush()


class Observed:
    """The outermost layer: request id, metrics, log line, and an answer to the unforeseen."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Callable[[], Metrics],
        access_log: AccessLog | None,
        tracing: Tracing | None = None,
    ) -> None:
        """Around ``app``."""
        self._app = app
        self._metrics = metrics
        self._access_log = access_log
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(scope)
        scope["boxoffice.request_id"] = request_id
        header = (b"x-request-id", request_id.encode())
        opened = None if self._tracing is None else self._tracing.begin(scope)
        status = 0

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], header, _NOSNIFF]
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except Exception as error:
            answer = await problems.handle(Request(scope), error)
            if status:
                _LOG.error("it was too late to answer", extra={"request_id": request_id})
                raise
            await answer(scope, receive, observe)
        finally:
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = template_of(scope)
            self._metrics().answered(method, route, status, seconds)
            trace = ""
            if self._tracing is not None and opened is not None:
                trace = self._tracing.end(opened, method, route, status, _role(scope))
            if self._access_log is not None:
                role = _role(scope)
                self._access_log.add(request_id, method, route, status, seconds, role, trace)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return token_hex(16)


def _role(scope: Scope) -> str:
    principal = scope.get("boxoffice.principal")
    return "none" if principal is None else str(principal.role.value)


def template_of(scope: Scope) -> str:
    """Path template of the route that a request went to; the same for all that went to none."""
    found = scope.get("boxoffice.template") or getattr(scope.get("route"), "path", None)
    return found or "unmatched"


def _traceback(error: BaseException) -> str:
    """Where an error came from; of what Postgres said only the code, as its text may hold rows."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    if not any(isinstance(found, psycopg.Error) for found in chain):
        return "".join(traceback.format_exception(error))
    parts = []
    for found in reversed(chain):
        parts += [*traceback.format_tb(found.__traceback__), type(found).__qualname__]
        if isinstance(found, psycopg.Error):
            parts.append(f" {found.sqlstate}, constraint {found.diag.constraint_name}")
        parts.append("\n")
    return "".join(parts)


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if message := record.getMessage():
            line["message"] = message
        if (request_id := getattr(record, "request_id", None)) is not None:
            line["request_id"] = request_id
        if record.exc_info is not None and record.exc_info[1] is not None:
            line["traceback"] = _traceback(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def configure_logging() -> None:
    """Write all logs of this process to standard error, as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = name != "uvicorn.access"  # it logs raw paths
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it repeats what is logged once
