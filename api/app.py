"""The application: its parts, what starts and ends with it, and its routes.

Belongs here: assembly. Does not belong here: anything that could be tested without it.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from api import problems, response_headers
from api.adhoc.runner import UnfitConnectionError
from api.cache import AnswerCache
from api.calls import Calls
from api.database import Database
from api.front import Front, Table
from api.observability import AccessLog, Metrics, Observed, configure_logging
from api.rate_limits import RateLimits
from api.redis_link import RedisLink
from api.routes import (
    adhoc,
    admin_analytics,
    export_schedules,
    exports,
    health,
    organizer_analytics,
    platform,
)
from api.tokens import Tokens
from api.tracing import Tracing
from pipelines.settings import Settings, get_settings

_LOG = logging.getLogger("boxoffice.api")
_MENDED_SECONDS = 300
VERSION = "1"
_DESCRIPTION = (
    "Reads the finished tables of Box Office. Every answer is `{data, meta}`; money is an integer "
    "of minor units with its decimal text; errors are RFC 9457 problem details."
)


@dataclass(frozen=True)
class Services:
    """What calls are answered with."""

    settings: Settings
    metrics: Metrics
    tokens: Tokens
    link: RedisLink
    limits: RateLimits
    cache: AnswerCache
    database: Database
    tracing: Tracing | None


def build_services(settings: Settings) -> Services:
    """The services, none of which is connected yet.

    Raises:
        api.tokens.ConfigurationError: tokens could not be verified safely.
        ValueError: another setting is missing or wrong.
    """
    metrics = Metrics()
    collector = settings.otel_exporter_otlp_endpoint
    link = RedisLink(settings.redis_url.get_secret_value())
    return Services(
        settings=settings,
        metrics=metrics,
        tokens=Tokens(settings),
        link=link,
        limits=RateLimits(link, settings.api_rate_limits, settings.api_workers),
        cache=AnswerCache(link, settings.api_cache_seconds, settings.time_zone, metrics.cached),
        database=Database(settings),
        tracing=Tracing(collector) if collector is not None else None,
    )


ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    platform.router,
    admin_analytics.router,
    adhoc.router,
    export_schedules.router,  # before exports: there a schedule's path would be a job's
    exports.router,
    *organizer_analytics.ROUTERS,
)


def create_app(settings: Settings, routers: Sequence[APIRouter] = ROUTERS) -> FastAPI:
    """The application; it connects when it is started.

    Raises:
        api.tokens.ConfigurationError: tokens could not be verified safely.
        ValueError: another setting is missing or wrong.
    """
    services = build_services(settings)

    access_log = AccessLog() if settings.api_access_log else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(services.link.close)
            stack.push_async_callback(services.cache.settle)
            stack.push_async_callback(services.database.close)
            if services.tracing is not None:
                services.tracing.start()
                stack.push_async_callback(services.tracing.stop)
            if access_log is not None:
                stack.callback(access_log.flush)
            await services.database.open()
            app.openapi()
            # What is there now stays: the collector need not look at it again with each request.
            gc.collect()
            gc.freeze()
            stack.callback(gc.unfreeze)
            yield

    app = FastAPI(
        title="Box Office",
        version=VERSION,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Its spans would have paths and queries, its logs exceptions; ours are api.tracing's.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.services = services
    table = Table()
    app.add_middleware(Front, services=lambda: services, table=table)
    app.add_middleware(
        Observed,
        metrics=lambda: services.metrics,
        access_log=access_log,
        tracing=services.tracing,
    )
    problems.install(app)
    app.add_exception_handler(UnfitConnectionError, _unfit)
    for router in routers:
        app.include_router(router)
        if isinstance(router, Calls):
            router.enter(table)
    _describe(app)
    return app


async def _unfit(request: Request, error: Exception) -> Response:
    """Ad-hoc SQL is set up so that it would not be safe: its operator is told, nobody else."""
    _LOG.error("ad-hoc SQL is refused to everybody: %s", error)
    return await problems.handle(
        request,
        problems.unavailable(
            "Ad-hoc SQL is not available: the deployment has to be mended first.", _MENDED_SECONDS
        ),
    )


def _describe(app: FastAPI) -> None:
    """Add what all routes refer to."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = problems.SCHEMA
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            }
            response_headers.describe(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def from_environment() -> FastAPI:
    """The application as a server process makes it."""
    configure_logging()
    return create_app(get_settings())
