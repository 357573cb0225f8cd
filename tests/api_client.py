"""A read API for tests: the application in this process, with its lifespan, and tokens for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from itertools import count
from typing import Annotated, Any, TypeVar

import httpx
import polars as pl
from fastapi import FastAPI, Query
from fastapi import Path as Path_
from pydantic import Field

from api.answers import Answer, flat, meta, record, series
from api.app import ROUTERS, create_app
from api.calls import Calls, Parameters, Read
from api.periods import Granularity, Periods, read_series
from api.policy import Access
from api.principal import Principal
from api.tokens import mint
from exports.masking import Role
from metrics.datasets import DAILY_METRICS, EVENT_SUMMARY, Dataset
from pipelines.settings import Settings
from tests.deployment import own_redis
from warehouse.migrate import upgrade
from warehouse.publish import Provenance, connect, publish

SECRET = "a-secret-for-tests-0123456789-abcdefghij"
T = TypeVar("T")


def bearer(
    settings: Settings, role: Role = Role.ADMIN, organizer: int | None = None, account: str = "a@b"
) -> dict[str, str]:
    """Headers with a token."""
    token = mint(settings, Principal(account, role, organizer))
    return {"Authorization": f"Bearer {token}"}


class Client(httpx.AsyncClient):
    """A client of an application that runs in this process.

    Attributes:
        app: the application.
        settings: what it was made with.
    """

    app: FastAPI
    settings: Settings

    def as_(
        self, role: Role = Role.ADMIN, organizer: int | None = None, account: str = "a@b"
    ) -> dict[str, str]:
        """Headers with a token."""
        return bearer(self.settings, role, organizer, account)


@asynccontextmanager
async def running(settings: Settings, app: FastAPI | None = None) -> AsyncIterator[Client]:
    """The application between start and end of its lifespan, and a client of it."""
    made = app or sample_app(settings)
    async with made.router.lifespan_context(made):
        transport = httpx.ASGITransport(made, raise_app_exceptions=False)
        async with Client(transport=transport, base_url="http://api") as client:
            client.app, client.settings = made, settings
            yield client


def with_client(
    settings: Settings, test: Callable[[Client], Awaitable[T]], app: FastAPI | None = None
) -> T:
    """Run a test against the application, in an event loop of its own."""

    async def run() -> T:
        async with running(settings, app) as client:
            return await test(client)

    return asyncio.run(run())


async def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for a condition, looking every few milliseconds."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)


# --- A warehouse with a few numbers in it -------------------------------------------------------

MINE, FOREIGN = 12, 13
"""Organizers."""
MY_EVENT, FOREIGN_EVENT, ABSENT_EVENT = 120, 130, 999
FIRST, LAST = date(2026, 3, 1), date(2026, 3, 5)
_attempts = count(1)


def api_settings(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
    **overrides: object,
) -> Settings:
    """Settings of a read API on a migrated warehouse, and a Redis database, of its own."""
    owner = fresh_database("boxoffice_owner", connects=["boxoffice_publisher", "boxoffice_reader"])
    upgrade(owner)
    return make_settings(
        **{
            "warehouse_owner_url": owner,
            "warehouse_url": role_url(owner, "boxoffice_publisher"),
            "warehouse_reader_url": role_url(owner, "boxoffice_reader"),
            "redis_url": own_redis(make_settings()),
            "api_token_secret": SECRET,
            "api_pool_max": 4,
            "api_access_log": False,
            **overrides,
        }
    )


def publish_day(
    settings: Settings, day: date, amounts: dict[int, int], *, is_complete: bool = True
) -> None:
    """Publish a day on which each of some events sold one order.

    Args:
        amounts: minor units of KES by event; an event's organizer is its number without the 0.
    """
    amounts = dict(sorted(amounts.items()))
    values = {
        "business_date": [day] * len(amounts),
        "organizer_id": [event // 10 for event in amounts],
        "event_id": list(amounts),
        "currency": ["KES"] * len(amounts),
    }
    for name in DAILY_METRICS.metric_names:
        if name in ("face_value", "ticket_revenue", "gross_revenue", "net_sales"):
            values[name] = list(amounts.values())
        else:
            values[name] = [int(name in ("orders", "paid_orders", "buyers"))] * len(amounts)
    _publish(settings, DAILY_METRICS, day.isoformat(), pl.DataFrame(values), is_complete)


def publish_events(settings: Settings, *events: int, name: str = "=1+1") -> None:
    """Publish the summary of some events."""
    values: dict[str, list[Any]] = {}
    for column in (*EVENT_SUMMARY.grain, *EVENT_SUMMARY.attributes):
        text = {"status": "on_sale", "currency": "KES", "event_name": name}.get(column.name, "x")
        filler = {"text": text, "bigint": 100, "date": FIRST}.get(column.type)
        values[column.name] = [filler] * len(events)
    values |= {"event_id": list(events), "organizer_id": [event // 10 for event in events]}
    values |= {metric: [0] * len(events) for metric in EVENT_SUMMARY.metric_names}
    for column in EVENT_SUMMARY.attributes:
        if column.type == "timestamptz":
            values[column.name] = [datetime(2026, 6, 1, tzinfo=UTC)] * len(events)
    _publish(settings, EVENT_SUMMARY, "all", pl.DataFrame(values), True)


def _publish(
    settings: Settings, dataset: Dataset, key: str, rows: pl.DataFrame, is_complete: bool
) -> None:
    attempt = next(_attempts)
    with connect(settings.warehouse_url.get_secret_value()) as connection:
        provenance = Provenance("run", attempt, attempt, attempt, "code", None, is_complete)
        publish(connection, dataset, key, rows, provenance)


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a good token of an organizer, but for changes; None leaves a claim out."""
    now = int(time.time())
    good = {
        "iss": "boxoffice",
        "aud": "boxoffice-api",
        "sub": "jane@example.org",
        "token_type": "access",
        "role": "organizer",
        "organizer_id": MINE,
        "iat": now,
        "exp": now + 60,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def fill(settings: Settings) -> None:
    """Publish 1 to 5 March without the 4th, on which the 2nd had no sale of ours; two events."""
    for day in (1, 2, 3, 5):
        amounts = {FOREIGN_EVENT: 7_700}
        if day != 2:
            amounts[MY_EVENT] = 100 * day
        publish_day(settings, date(2026, 3, day), amounts, is_complete=day != 5)
    publish_events(settings, MY_EVENT, FOREIGN_EVENT)


# --- Endpoints of the tests ---------------------------------------------------------------------

sample = Calls("/sample", "Sample")
URL = "/sample/revenue?from=2026-03-01&to=2026-03-05"
SHOWN = ("gross_revenue", "orders", "buyers")


class RevenueQuery(Parameters):
    from_: date = Field(alias="from")
    to: date
    granularity: Granularity = "daily"


@sample.answer("/revenue", access=Access.ORGANIZER_ANALYTICS, reads=("daily_metrics",))
async def revenue(read: Read, query: Annotated[RevenueQuery, Query()]) -> Answer:
    """As an endpoint is written."""
    periods = Periods(query.granularity, query.from_, query.to)
    blocks = {"metrics": SHOWN, "filters": ()}
    rows, coverage = await read_series(read, "metrics_by_period", periods, blocks=blocks, only=True)
    found = series(coverage, rows, SHOWN)
    described = meta(read, coverage=coverage, currencies={one["currency"] for one in found})
    return Answer(found, described, table=lambda: flat(found))


@sample.answer("/events/{event}", access=Access.ORGANIZER_ANALYTICS, reads=("event_summary",))
async def event(read: Read, event: Annotated[int, Path_(ge=1)]) -> Answer:
    """Of one event, which may be foreign."""
    row = await read.owned("event", {"event_id": event})
    return Answer(record(row), meta(read), table=lambda: [record(row)])


@sample.action("/broken", method="GET", access=Access.ORGANIZER_ANALYTICS)
async def broken() -> Answer:
    """An endpoint with a mistake in it."""
    raise KeyError("secret-of-the-code")


def sample_app(settings: Settings) -> FastAPI:
    """The application, with the endpoints of the tests."""
    return create_app(settings, (*ROUTERS, sample))
