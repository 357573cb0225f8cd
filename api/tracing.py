"""Traces: a span for each request, its question to Redis, and its round trips to Postgres.

Belongs here: spans and what they may say. Does not belong here: metrics and logs
(``api.observability``).

Spans name what is in the code: the route's template, the files of ``api/sql``, the caller's role.
A path, query value, parameter, account or token is in none. FastAPI has telemetry of its own; it
would send paths and queries, so it is off.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer
    from starlette.types import Scope

_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
_PROPAGATED = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class _Open:
    """A request's span, and what makes those below it."""

    tracer: Tracer
    span: Span


_REQUEST: ContextVar[_Open | None] = ContextVar("boxoffice_request_span", default=None)


class Tracing:
    """Sends spans to a collector by OTLP over HTTP, in batches, in a thread of its own.

    Everything else than the endpoint (headers, sampler, service name) the SDK reads from the
    standard variables ``OTEL_*``.

    Args:
        endpoint: base URL of the collector; spans go to ``/v1/traces`` below it.

    Raises:
        ValueError: the packages of the extra ``tracing`` are not installed.
    """

    def __init__(self, endpoint: str) -> None:
        """Import and start nothing yet."""
        if not all(map(_is_installed, _PACKAGES)):
            raise ValueError(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, but what sends traces is not installed: "
                "run pip install 'box-office[tracing]', or unset it"
            )
        self._endpoint = endpoint
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None

    def start(self) -> None:
        """Make spans from now on."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        found = Resource.create()
        if str(found.attributes["service.name"]).startswith("unknown_service"):
            found = found.merge(Resource({"service.name": "boxoffice-api"}))
        self._provider = TracerProvider(resource=found, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{self._endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("boxoffice.api")

    async def stop(self) -> None:
        """Send what waits, for as long as the exporter's time limit at most, and end."""
        if self._provider is None:
            return
        provider, self._provider, self._tracer = self._provider, None, None
        await asyncio.to_thread(provider.shutdown)

    def begin(self, scope: Scope) -> _Open | None:
        """Open the span of a request, below the caller's if they sent ``traceparent``."""
        if self._tracer is None:
            return None
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        sent = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name.decode("latin-1") in _PROPAGATED
        }
        parent = TraceContextTextMapPropagator().extract(sent)
        span = self._tracer.start_span("HTTP", context=parent, kind=SpanKind.SERVER)
        opened = _Open(self._tracer, span)
        _REQUEST.set(opened)
        return opened

    def end(self, opened: _Open, method: str, route: str, status: int, role: str) -> str:
        """Close the span of a request; returns the id of its trace."""
        from opentelemetry.trace import StatusCode

        span = opened.span
        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "boxoffice.role": role,
            }
        )
        if status >= 500 or not status:
            span.set_attribute("error.type", str(status or "no answer"))
            span.set_status(StatusCode.ERROR)
        span.end()
        _REQUEST.set(None)
        return f"{span.get_span_context().trace_id:032x}"


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of what is above it
        return False


def cache_outcome(outcome: str) -> None:
    """Say on the request's span what the cache did; nothing where there is none."""
    opened = _REQUEST.get()
    if opened is not None and opened.span.is_recording():
        opened.span.set_attribute("boxoffice.cache", outcome)


def redis_call() -> AbstractContextManager[None]:
    """A span around the question for a cached answer and the rate limit."""
    opened = _REQUEST.get()
    if opened is None:
        return _NOTHING
    return _child(opened, "rate limit and cache", {"db.system.name": "redis"})


def postgres_call(names: Sequence[str]) -> AbstractContextManager[None]:
    """A span around statements that are run in one round trip, by their names."""
    opened = _REQUEST.get()
    if opened is None:
        return _NOTHING
    summary = " ".join(names) or "transaction"
    attributes = {
        "db.system.name": "postgresql",
        "db.query.summary": summary,
        "db.operation.batch.size": len(names),
    }
    return _child(opened, f"postgres {summary}", attributes)


_NOTHING: AbstractContextManager[None] = nullcontext()


@contextmanager
def _child(opened: _Open, name: str, attributes: dict[str, Any]) -> Iterator[None]:
    from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

    context = set_span_in_context(opened.span)
    span = opened.tracer.start_span(
        name, context=context, kind=SpanKind.CLIENT, attributes=attributes
    )
    try:
        yield
    except BaseException as error:
        # Its type only: a message may repeat values.
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(StatusCode.ERROR)
        raise
    finally:
        span.end()
