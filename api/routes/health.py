"""For whoever runs it: is it alive, is it ready, how is it doing, what can it be asked.

Belongs here: ``/healthz``, ``/readyz``, ``/metrics`` and ``/docs``, which need no token and show no
number of the platform's business. Does not belong here: anything with one.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import Metric
from psycopg.rows import dict_row
from pydantic_core import to_json
from starlette.responses import HTMLResponse, Response

import warehouse
from api import problems
from api.docs_page import page
from api.observability import Collected, counter, gauge
from api.problems import Kind
from api.statements import statement
from metrics.calendar import business_date
from warehouse.freshness import Freshness, read_freshness
from warehouse.periods import quantile_edge, read_states
from warehouse.proofs import Proof, last_proofs

if TYPE_CHECKING:
    from api.app import Services

router = APIRouter(tags=["Operation"])
_WAREHOUSE_SECONDS = 5.0
_LATENESS_PER_MILLE = 995
_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def migrated_to() -> str:
    """The newest revision of the warehouse in this code."""
    versions = Path(warehouse.__file__).parent / "migrations" / "versions"
    return max(path.name[:4] for path in versions.glob("[0-9][0-9][0-9][0-9]_*.py"))


def _json(content: object, status: int = 200) -> Response:
    return Response(
        to_json(content), status, {"Cache-Control": "no-store"}, media_type="application/json"
    )


def _says(example: dict[str, Any], description: str = "Answered.") -> dict[str, Any]:
    content = {"schema": {"type": "object"}, "example": example}
    return {"description": description, "content": {"application/json": content}}


_CHECKS = {"postgres": "ok", "migrations": "ok", "redis": "ok"}


@router.get(
    "/healthz",
    summary="Whether the process answers",
    response_model=None,
    responses={200: _says({"status": "ok"})},
)
async def healthz() -> Response:
    """Answer, whatever the parts it talks to are doing."""
    return _json({"status": "ok"})


@router.get(
    "/readyz",
    summary="Whether it can answer requests, and what is missing",
    response_model=None,
    responses={
        200: _says({"status": "ready", "checks": _CHECKS}),
        503: _says({"status": "not ready", "checks": _CHECKS}, "It cannot; `checks` says why."),
    },
)
async def readyz(request: Request) -> Response:
    """Ask Postgres; Redis is asked for nothing that could not be done without it."""
    services: Services = request.app.state.services
    checks = dict(_CHECKS)
    try:
        revision = await services.database.revision()
    except (psycopg.Error, problems.Problem, OSError, TimeoutError):
        checks["postgres"] = "does not answer, or the reader may not read"
        checks["migrations"] = "not known"
    else:
        if revision != (expected := migrated_to()):
            checks["migrations"] = (
                f"at {revision}, this code needs {expected}: run `boxoffice migrate`"
            )
    if services.link.is_resting:
        checks["redis"] = "does not answer: slower, still right"
    ready = checks["postgres"] == checks["migrations"] == "ok"
    status = 200 if ready else 503
    return _json({"status": "ready" if ready else "not ready", "checks": checks}, status)


@router.get("/docs", summary="This API, for people", response_class=HTMLResponse)
async def docs(request: Request) -> Response:
    """A page without scripts and without anything from elsewhere."""
    return HTMLResponse(
        page(request.app.openapi()),
        headers={"Content-Security-Policy": _CSP, "Cache-Control": "no-cache"},
    )


class _WarehouseMetrics:
    """What the warehouse says, asked for every few seconds at most."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._at = float("-inf")
        self._families: list[Metric] = []

    async def families(self, services: Services) -> list[Metric]:
        async with self._lock:
            if time.monotonic() - self._at > _WAREHOUSE_SECONDS:
                is_up = 1.0
                try:
                    self._families = await asyncio.to_thread(_read, services)
                except (psycopg.Error, OSError):
                    is_up, self._families = 0.0, []
                text = "Whether the warehouse answered."
                self._families.append(gauge("boxoffice_warehouse_up", text, (), [((), is_up)]))
                self._at = time.monotonic()
            return self._families


_WAREHOUSE = _WarehouseMetrics()


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Of this worker, or of all where there are several, and of the warehouse."""
    services: Services = request.app.state.services
    registry = CollectorRegistry()
    if services.settings.api_workers > 1:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        own = b""
    else:
        own = generate_latest(services.metrics.registry)
    registry.register(Collected([*_own(services), *await _WAREHOUSE.families(services)]))
    return Response(
        own + generate_latest(registry),
        headers={"Cache-Control": "no-store"},
        media_type="text/plain; version=0.0.4; charset=utf-8",
    )


def _own(services: Services) -> list[Metric]:
    pools = services.database.statistics()

    def of_pools(name: str, text: str, key: str) -> Metric:
        values = [((scope,), float(found.get(key, 0))) for scope, found in pools.items()]
        return gauge(name, text, ("pool",), values)

    return [
        of_pools("boxoffice_api_pool_connections", "Connections of a pool.", "pool_size"),
        of_pools("boxoffice_api_pool_available", "Connections nobody uses.", "pool_available"),
        of_pools("boxoffice_api_pool_waiting", "Requests that wait for one.", "requests_waiting"),
        counter(
            "boxoffice_api_pool_wait_seconds",
            "Time spent waiting for a connection.",
            ("pool",),
            [((scope,), found.get("requests_wait_ms", 0) / 1000) for scope, found in pools.items()],
        ),
        gauge(
            "boxoffice_api_redis_resting",
            "1 while Redis is not asked because it did not answer.",
            (),
            [((), float(services.link.is_resting))],
        ),
    ]


def _read(services: Services) -> list[Metric]:
    """Ask as the publisher, read-only: it alone sees the export jobs of all accounts."""
    settings = services.settings
    now = datetime.now(UTC)
    with psycopg.connect(
        settings.warehouse_url.get_secret_value(),
        autocommit=True,
        row_factory=dict_row,
        connect_timeout=2,
        application_name="boxoffice-api-metrics",
    ) as connection:
        connection.execute("SET default_transaction_read_only = on; SET statement_timeout = '10s'")
        fresh = read_freshness(connection, settings.time_zone)
        states = read_states(connection, settings.time_zone, settings.final_after_days, now)
        proofs = last_proofs(connection)
        exports = connection.execute(statement("export_states")).fetchall()
    return [
        *_of_publications(fresh, settings.time_zone, now),
        *_of_proofs(proofs),
        gauge(
            "boxoffice_partitions",
            "Published partitions by state.",
            ("dataset", "state"),
            [
                ((dataset, state.value), float(number))
                for dataset, counts in states.counts.items()
                for state, number in counts.items()
            ],
        ),
        gauge(
            "boxoffice_lateness_seconds",
            "Time within which 99.5 % of movements were recorded, of the last 90 days.",
            (),
            [((), float(found))]
            if (found := quantile_edge(states.histogram, _LATENESS_PER_MILLE)) is not None
            else [],
        ),
        *_of_exports(exports),
    ]


def _of_publications(fresh: Freshness, time_zone: str, now: datetime) -> list[Metric]:
    yesterday = business_date(time_zone, now) - timedelta(days=1)
    waiting: dict[str, int] = {}
    for day in fresh.waiting:
        waiting[day.fact] = waiting.get(day.fact, 0) + 1
    facts = [fact.fact for fact in fresh.facts]
    return [
        gauge(
            "boxoffice_publication_age_seconds",
            "Time since readers last got something new.",
            ("dataset",),
            [((d.dataset,), (now - d.published_at).total_seconds()) for d in fresh.datasets],
        ),
        gauge(
            "boxoffice_days_behind",
            "Whole days from complete_through to yesterday; none while nothing is complete.",
            ("dataset",),
            [
                ((d.dataset,), float(max(0, (yesterday - d.complete_through).days)))
                for d in fresh.datasets
                if d.complete_through is not None
            ],
        ),
        gauge(
            "boxoffice_missing_partitions",
            "Partitions missing between the first and the last.",
            ("dataset",),
            [((d.dataset,), float(len(d.gaps))) for d in fresh.datasets],
        ),
        gauge(
            "boxoffice_held_back_partitions",
            "Partitions whose last audit failed: readers see the version before.",
            ("dataset",),
            [((d.dataset,), float(len(d.held_back))) for d in fresh.datasets],
        ),
        gauge(
            "boxoffice_ingestion_age_seconds",
            "Time since the instant before which every change at the source is in the lake.",
            ("fact",),
            [((f.fact,), (now - f.ingested_until).total_seconds()) for f in fresh.facts],
        ),
        gauge(
            "boxoffice_late_days_waiting",
            "Past days that changed at the source and have not been read since.",
            ("fact",),
            [((name,), float(waiting.get(name, 0))) for name in facts],
        ),
        gauge(
            "boxoffice_quarantined_rows",
            "Source rows that cannot be used.",
            ("fact",),
            [
                (
                    (name,),
                    float(sum(held.row_count for held in fresh.quarantined if held.fact == name)),
                )
                for name in facts
            ],
        ),
    ]


def _of_proofs(proofs: list[Proof]) -> list[Metric]:
    return [
        gauge(
            "boxoffice_reconciliation_differing_partitions",
            "Partitions whose last comparison with the layer before found a difference; must be 0.",
            ("dataset",),
            [((proof.dataset,), float(proof.partitions - proof.proven)) for proof in proofs],
        ),
        gauge(
            "boxoffice_reconciliation_age_seconds",
            "Time since the last comparison.",
            ("dataset",),
            [
                ((proof.dataset,), (datetime.now(UTC) - proof.at).total_seconds())
                for proof in proofs
                if proof.at is not None
            ],
        ),
    ]


def _of_exports(rows: list[dict[str, Any]]) -> list[Metric]:
    return [
        gauge(
            "boxoffice_export_jobs",
            "Export jobs by state.",
            ("state",),
            [((row["state"],), float(row["jobs"])) for row in rows],
        ),
        gauge(
            "boxoffice_export_oldest_seconds",
            "Time since the oldest export job of each state was asked for.",
            ("state",),
            [((row["state"],), row["oldest_seconds"]) for row in rows],
        ),
    ]


def method_hint(hint: str, allowed: str) -> problems.Problem:
    """405 that says which method to use."""
    return problems.Problem(Kind.METHOD_NOT_ALLOWED, hint, headers={"Allow": allowed})
