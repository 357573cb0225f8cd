"""Postgres as other roles than the readers': the publisher's few writes, and ad-hoc SQL's sessions.

Belongs here: how many such connections a worker holds, and their limits. Does not belong here: what
is written (``warehouse``), or reading finished numbers (``api.database``).

These calls are rare, so each has a connection of its own: nothing is left of the call before, and
nothing has to be mended after an outage.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from fastapi import FastAPI
from psycopg.rows import dict_row

from api.database import Row
from api.problems import Kind, Problem, unavailable

if TYPE_CHECKING:
    from api.app import Services

T = TypeVar("T")
WRITERS = 2
"""Connections as the publisher that a worker holds at most."""
ADHOC_SESSIONS = 3
"""Sessions of ad-hoc SQL that all workers together hold at most; the role is allowed one more."""
_CONNECT_SECONDS = 2
_WAIT_SECONDS = 2.0


class Connections:
    """Short connections of one role, never more than ``size`` at a time.

    Args:
        statement_seconds: after which Postgres stops a statement; None: what the role has.
    """

    def __init__(self, url: str, name: str, size: int, statement_seconds: float | None) -> None:
        """Connect to nothing."""
        self._url = url
        self._room = asyncio.Semaphore(size)
        self._arguments: dict[str, Any] = {
            "autocommit": True,
            "application_name": name,
            "connect_timeout": _CONNECT_SECONDS,
            "tcp_user_timeout": _CONNECT_SECONDS * 1000,
        }
        if statement_seconds is not None:
            limits = f"-c statement_timeout={round(statement_seconds * 1000)} -c lock_timeout=2s"
            self._arguments["options"] = limits

    async def run(self, function: Callable[[psycopg.Connection[Row]], T]) -> T:
        """Run one of the warehouse's own functions, in a thread.

        Raises:
            Problem: no connection became free in time.
        """

        def call() -> T:
            with psycopg.Connection[Row].connect(
                self._url, row_factory=dict_row, **self._arguments
            ) as connection:
                return function(connection)

        async with self._entered():
            return await asyncio.to_thread(call)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection for a while.

        Raises:
            Problem: no connection became free in time.
        """
        async with (
            self._entered(),
            await psycopg.AsyncConnection.connect(self._url, **self._arguments) as connection,
        ):
            yield connection

    @asynccontextmanager
    async def _entered(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._room.acquire()
        except TimeoutError:
            raise unavailable("No database connection became free in time.") from None
        try:
            yield
        finally:
            self._room.release()


def publisher(app: FastAPI) -> Connections:
    """Connections that queue exports and keep records; the same for all of an application.

    Raises:
        Problem: the database is away.
    """
    services: Services = app.state.services
    if services.database.publications.is_away:
        raise unavailable()
    if not hasattr(app.state, "publisher"):
        settings = services.settings
        app.state.publisher = Connections(
            settings.warehouse_url.get_secret_value(),
            "boxoffice-api-writer",
            WRITERS,
            settings.api_statement_timeout_seconds,
        )
    found: Connections = app.state.publisher
    return found


def adhoc_sessions(app: FastAPI) -> Connections:
    """Sessions of ad-hoc SQL; the same for all of an application.

    Raises:
        Problem: the database is away, or the deployment has no role for ad-hoc SQL.
    """
    services: Services = app.state.services
    settings = services.settings
    if settings.warehouse_adhoc_url is None:
        raise Problem(
            Kind.UNAVAILABLE,
            "Ad-hoc SQL is not set up in this deployment: its operator sets"
            " BOXOFFICE_WAREHOUSE_ADHOC_URL to a role made by local/sql/adhoc_role.sql.",
        )
    if services.database.publications.is_away:
        raise unavailable()
    if not hasattr(app.state, "adhoc_sessions"):
        app.state.adhoc_sessions = Connections(
            settings.warehouse_adhoc_url.get_secret_value(),
            "boxoffice-api-adhoc",
            max(1, ADHOC_SESSIONS // settings.api_workers),
            None,
        )
    found: Connections = app.state.adhoc_sessions
    return found
