"""A read API for tests: the application in this process, with its lifespan, and tokens for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI

from api.app import create_app
from api.principal import Principal
from api.tokens import mint
from exports.masking import Role
from pipelines.settings import Settings

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
    made = app or create_app(settings)
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
