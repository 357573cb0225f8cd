"""Postgres: pools, and read-only transactions in which a caller sees what is theirs.

Belongs here: connections, the role and setting under which row-level security lets rows through,
and one snapshot per answer. Does not belong here: statements (``api/sql``), or who may ask
(``api.policy``).

There is a pool for each scope, whose connections took its role for good: plans stay prepared, and a
statement for an organizer never runs under a role that sees everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeVar

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, tuple_row
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool

from api.principal import Principal
from api.problems import not_found, unavailable
from api.publications import Publications, Query, Shelf, combined, shelf_queries, shelves
from api.statements import name_of, statement
from api.tracing import postgres_call
from api.viewers import Viewers
from pipelines.settings import Settings

_LOG = logging.getLogger("boxoffice.api")
Scope = Literal["organizer", "admin"]
_ROLES: Mapping[Scope, str] = {
    "organizer": "boxoffice_organizer_reader",
    "admin": "boxoffice_admin_reader",
}
_CONNECT_SECONDS = 2
_WAIT_SECONDS = 2.0
_MAX_WAITING = 200
_POOL_CAP = 16  # more connections than this make two or four cores slower, not faster
_POOL_UNKNOWN = 8
_BEGIN = b"BEGIN"
_COMMIT = b"COMMIT"

Connection = psycopg.AsyncConnection[dict[str, Any]]
Row = dict[str, Any]
T = TypeVar("T")


class Texts(NamedTuple):
    """A query whose rows are tuples of texts as Postgres wrote them, for what is passed on."""

    statement: bytes
    parameters: Mapping[str, Any] | None


class Database:
    """The pools of one worker, and what it knows of publications."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        if settings.warehouse_reader_url is None:
            raise ValueError("BOXOFFICE_WAREHOUSE_READER_URL is not set; the read API needs it")
        self._url = settings.warehouse_reader_url.get_secret_value()
        self._settings = settings
        self.time_zone = settings.time_zone
        self._pools: dict[Scope, AsyncConnectionPool[Connection]] = {}
        self.publications = Publications(lambda: self._connect("admin"), self._drain)
        self.viewers = Viewers(settings.warehouse_url.get_secret_value())

    async def open(self) -> None:
        """Open the pools; a database that is away is not an error: it is tried again."""
        size = await self._pool_size()
        # Organizers are many; what admins ask is heavier, and rarer.
        shares: dict[Scope, int] = {"organizer": size - size // 2, "admin": size // 2}
        for scope, share in shares.items():
            pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
                self._url,
                kwargs=self._arguments(),
                min_size=min(self._settings.api_pool_min, share),
                max_size=share,
                open=False,
                configure=self._configurer(scope),
                name=f"boxoffice-{scope}",
                timeout=_WAIT_SECONDS,
                max_waiting=_MAX_WAITING,
                # Given up soon and tried again with the next request, instead of ever more rarely.
                reconnect_timeout=1.0,
            )
            self._pools[scope] = pool
            await pool.open()
        await self.publications.start()

    async def close(self) -> None:
        """Wait for nothing that is running longer than a few seconds."""
        await self.publications.stop()
        await self.viewers.settle()
        for pool in self._pools.values():
            await pool.close(timeout=5)

    def statistics(self) -> dict[Scope, dict[str, int]]:
        """Of each pool, as psycopg counts."""
        return {scope: pool.get_stats() for scope, pool in self._pools.items()}

    def reading(self, principal: Principal, datasets: tuple[str, ...]) -> Reading:
        """A snapshot in which the principal sees what is theirs."""
        return Reading(self, principal, datasets)

    async def in_thread(self, function: Callable[[psycopg.Connection[Row]], T]) -> T:
        """Run one of the warehouse's own functions on a connection that sees every organizer.

        For what is asked rarely: it connects anew, and blocks a thread.
        """

        def call() -> T:
            arguments = self._arguments()
            with psycopg.Connection[Row].connect(self._url, **arguments) as connection:
                connection.execute(self._session("admin"))
                return function(connection)

        return await asyncio.to_thread(call)

    async def acquire(self, principal: Principal) -> tuple[AsyncConnectionPool[Connection], Any]:
        """A connection of the principal's scope, and the pool it goes back to.

        Raises:
            Problem: the database is away.
        """
        if self.publications.is_away:
            raise unavailable()
        pool = self._pools["admin" if principal.organizer_id is None else "organizer"]
        return pool, await pool.getconn()

    async def revision(self) -> str:
        """The revision the warehouse was migrated to."""
        if self.publications.is_away:
            raise unavailable()
        async with self._pools["admin"].connection() as connection:
            row = await (await connection.execute(statement("readiness"))).fetchone()
        return "" if row is None else str(row["version_num"])

    async def _drain(self) -> None:
        for pool in self._pools.values():
            await pool.drain()

    async def _connect(self, scope: Scope) -> Connection:
        connection: Connection = await psycopg.AsyncConnection.connect(
            self._url, **self._arguments()
        )
        await self._configurer(scope)(connection)
        return connection

    def _arguments(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "row_factory": dict_row,
            "application_name": "boxoffice-api",
            "connect_timeout": _CONNECT_SECONDS,
            "tcp_user_timeout": _CONNECT_SECONDS * 1000,
            "prepare_threshold": 2,
        }

    def _session(self, scope: Scope) -> bytes:
        milliseconds = round(self._settings.api_statement_timeout_seconds * 1000)
        composed = sql.SQL(
            "SET ROLE {}; SET default_transaction_read_only = on;"
            "SET default_transaction_isolation = 'repeatable read'; SET statement_timeout = {};"
            "SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '30s';"
            "SET timezone = 'UTC'"
        )
        role = sql.Identifier(_ROLES[scope])
        return composed.format(role, sql.Literal(milliseconds)).as_bytes()

    def _configurer(self, scope: Scope) -> Callable[[Connection], Any]:
        async def configure(connection: Connection) -> None:
            await connection.execute(self._session(scope))

        return configure

    async def _pool_size(self) -> int:
        if self._settings.api_pool_max is not None:
            return self._settings.api_pool_max
        try:
            async with await self._connect("admin") as connection:
                cursor = await connection.execute(statement("max_connections"))
                row = await cursor.fetchone()
        except (psycopg.Error, OSError) as error:
            _LOG.warning("pools of %s connections: %s", _POOL_UNKNOWN, error)
            return _POOL_UNKNOWN
        quarter = (row["max_connections"] if row else 0) // 4 // self._settings.api_workers
        return max(2, min(_POOL_CAP, quarter))


class Reading:
    """One read-only transaction of one caller: everything read in it is of one instant.

    It begins with the first statement. Every statement is given ``organizer_id``: the caller's, or
    None for callers who see every organizer.
    """

    def __init__(self, database: Database, principal: Principal, datasets: tuple[str, ...]) -> None:
        """Take no connection yet."""
        self.principal = principal
        self.datasets = datasets
        self.time_zone = database.time_zone
        self._database = database
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._connection: Connection | None = None
        self._versions: dict[str, Any] | None = None
        self._shelves: dict[str, Shelf] = {}

    async def __aenter__(self) -> Self:
        """Enter."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the connection back."""
        await self.release()

    @property
    def has_read(self) -> bool:
        """Whether its snapshot has been taken."""
        return self._versions is not None

    @property
    def version(self) -> str:
        """``data_version`` of the snapshot: of all tables that were named for the endpoint.

        Raises:
            RuntimeError: nothing has been read yet.
        """
        if self._versions is None:
            raise RuntimeError("a snapshot has its version once something was read in it")
        return combined(self._versions, self.datasets)

    async def rows(
        self,
        name: str,
        /,
        parameters: Mapping[str, Any] | None = None,
        *,
        only: bool = False,
        **blocks: str | tuple[str, ...],
    ) -> list[Row]:
        """Rows of a statement of ``api/sql``.

        Args:
            only: nothing else will be read for this answer; saves a round trip.
            blocks: identifiers that the statement is filled in with.
        """
        return (await self.batch((statement(name, **blocks), parameters), only=only))[0]

    async def owned(
        self,
        name: str,
        /,
        parameters: Mapping[str, Any] | None = None,
        **blocks: str | tuple[str, ...],
    ) -> Row:
        """The one row of a statement, for things that may be foreign or absent.

        Raises:
            Problem: there is no such row, or it is not the caller's; one cannot tell which.
        """
        rows = await self.rows(name, parameters, only=False, **blocks)
        if not rows:
            raise not_found()
        return rows[0]

    async def batch(self, *queries: Query, only: bool = False) -> list[list[Row]]:
        """Rows of several statements, in one round trip.

        Args:
            only: nothing else will be read for this answer; saves a round trip.
        """
        last = only and self._database.publications.has_shelves(self.datasets)
        if self._connection is not None:
            if not last:
                return await self._run(self._connection, queries)
            results = await self._run(self._connection, [*queries, (_COMMIT, None)])
            await self.release()
            return results[:-1]
        for attempt in (1, 2):
            try:
                self._pool, self._connection = await self._database.acquire(self.principal)
                results = await self._begin(self._connection, queries, last=last)
                break
            except psycopg.OperationalError:
                connection = self._connection
                await self.release()
                # A connection that died while nobody used it says nothing of the database.
                if attempt == 2 or connection is None or not connection.closed:
                    raise
        if last and not all(self._known_shelf(name) for name in self.datasets):
            # Published meanwhile: read again, in a snapshot that stays open.
            await self.release()
            self._versions = None
            return await self.batch(*queries)
        return results

    async def shelf(self, dataset: str) -> Shelf:
        """What readers are given of a table, in this snapshot."""
        if self._versions is None:
            await self.batch()
        found = self._known_shelf(dataset)
        if found is None:
            names = tuple(dict.fromkeys((dataset, *self.datasets)))
            results = await self.batch(*shelf_queries(names))
            self._shelves |= shelves(names, self._versions or {}, results)
            self._database.publications.remember(self._shelves)
            found = self._shelves[dataset]
        return found

    def _known_shelf(self, dataset: str) -> Shelf | None:
        return self._shelves.get(dataset) or self._database.publications.shelf(
            dataset, self._versions or {}
        )

    async def _begin(
        self, connection: Connection, queries: Sequence[Query], *, last: bool
    ) -> list[list[Row]]:
        organizer = self.principal.organizer_id
        scope = {
            "organizer_id": "" if organizer is None else str(organizer),
            "requester": self.principal.account,
        }
        # Statements of one pipeline are one transaction, also without BEGIN and COMMIT.
        opening: list[Query] = [] if last else [(_BEGIN, None)]
        opening.append((statement("begin"), scope))
        results = await self._run(connection, [*opening, *queries])
        self._versions = results[len(opening) - 1][0]["versions"] or {}
        if last:
            await self.release()
        return results[len(opening) :]

    async def _run(self, connection: Connection, queries: Sequence[Query]) -> list[list[Row]]:
        own = {"organizer_id": self.principal.organizer_id}
        names = [name_of(query) for query, _ in queries if query not in (_BEGIN, _COMMIT)]
        with postgres_call(names):
            return await self._pipelined(connection, queries, own)

    async def _pipelined(
        self, connection: Connection, queries: Sequence[Query], own: Mapping[str, Any]
    ) -> list[list[Row]]:
        cursors: list[psycopg.AsyncCursor[Any]] = []
        async with connection.pipeline():
            for asked in queries:
                query, parameters = asked
                given = None if parameters is None else {**own, **parameters}
                cursor = _texts(connection) if isinstance(asked, Texts) else connection.cursor()
                cursors.append(await cursor.execute(query, given))
        return [await c.fetchall() if c.description is not None else [] for c in cursors]

    async def release(self) -> None:
        """End the transaction and give the connection back; safe to repeat."""
        pool, connection = self._pool, self._connection
        self._pool = self._connection = None
        if pool is None or connection is None:
            return
        try:
            idle = connection.info.transaction_status is TransactionStatus.IDLE
            if not idle and not connection.closed:
                await connection.rollback()
        except psycopg.Error as error:
            _LOG.info("a transaction could not be ended: %s", type(error).__name__)
        finally:
            await pool.putconn(connection)


def _texts(connection: Connection) -> psycopg.AsyncCursor[tuple[str, ...]]:
    cursor = connection.cursor(row_factory=tuple_row)
    for name in ("int8", "date"):
        cursor.adapters.register_loader(name, TextLoader)
    return cursor
