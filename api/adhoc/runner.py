"""Running a checked statement: as its own role, read-only, for a bounded time, rows and bytes.

Belongs here: the session around one statement, its limits and what became of it. Does not belong
here: deciding what may run (``api.adhoc.gate``), the record (``api.adhoc.audit``), the web.

The role ``boxoffice_adhoc`` can read ``reporting`` and nothing else. Some of its limits only a
superuser can set; ``local/sql/adhoc_role.sql`` is what an operator runs in production.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import psycopg
from pglast import parser
from psycopg import errors
from psycopg.rows import dict_row, tuple_row

from api.adhoc.gate import Bounded, Checked, bounded
from api.adhoc.values import json_safe, type_name

_ENTER_SQL = (Path(__file__).parent / "sql" / "enter.sql").read_bytes()
_GRACE_SECONDS = 5.0

Connect = Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]]
"""Gives a connection for a while, for example ``pool.connection`` of an ``AsyncConnectionPool``."""


class AdhocError(Exception):
    """An allowed statement gave no answer; the message is for its author."""


class StatementFailedError(AdhocError):
    """Postgres refused or could not finish the statement.

    Attributes:
        position: character of the statement as it was given, from 1; None where none is known.
        sqlstate: Postgres's code of the error.
    """

    def __init__(self, reason: str, position: int | None, sqlstate: str | None) -> None:
        """Keep all three."""
        super().__init__(reason)
        self.position = position
        self.sqlstate = sqlstate


class StatementTimedOutError(AdhocError):
    """The statement ran, or waited for a lock, longer than it may."""


class UnfitConnectionError(Exception):
    """The connection may do more than ad-hoc SQL should, or the server is not one it was made for.

    A mistake of the deployment: nothing is run, and the message is for its operator.
    """


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one statement may use.

    Attributes:
        rows: rows given at most.
        bytes: bytes of the rows' texts given at most; also the longest row that leaves Postgres.
        statement_seconds: how long it may run.
        lock_seconds: how long it may wait for a table that is being changed.
    """

    rows: int = 10_000
    bytes: int = 8 * 1024 * 1024
    statement_seconds: float = 10.0
    lock_seconds: float = 2.0


@dataclass(frozen=True)
class Column:
    """A column of the answer: its name and its Postgres type."""

    name: str
    type: str


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The answer.

    Attributes:
        rows: values as JSON has them (``api.adhoc.values``), in the order of ``columns``.
        truncated: the cap that cut it; None where it is whole.
        byte_count: bytes of the rows' texts.
        seconds: how long it took, from the first row's request to the last row.
    """

    columns: tuple[Column, ...]
    rows: list[tuple[Any, ...]]
    truncated: Literal["rows", "bytes"] | None
    byte_count: int
    seconds: float


async def run(
    connect: Connect,
    checked: Checked,
    limits: Limits,
    *,
    time_zone: str = "UTC",
    schema: str = "reporting",
) -> Rows:
    """Run a checked statement and return what the limits let through.

    Cancelling the task cancels the statement in Postgres. The connection is given back with nothing
    left of the statement (``DISCARD ALL``), or closed.

    Args:
        connect: gives a connection as the role of ad-hoc SQL.
        time_zone: in which ``timestamptz`` values are shown and truncated.
        schema: the schema that was checked against.

    Raises:
        StatementFailedError: an error in it, or a limit of the role.
        StatementTimedOutError: it took too long.
        UnfitConnectionError: the deployment is wrong.
        psycopg.OperationalError: Postgres is away, or all connections of the role are in use.
    """
    statement = bounded(checked, rows=limits.rows + 1, row_bytes=limits.bytes)
    async with connect() as connection, _session(connection):
        try:
            # The server's own timeouts come first; this one is for a server that does not answer.
            async with asyncio.timeout(limits.statement_seconds + _GRACE_SECONDS):
                await _enter(connection, limits, time_zone, schema)
                found = await _read(connection, statement, limits)
                if found.columns:
                    return found
                # An empty answer comes without its columns; this one reads nothing.
                empty = bounded(checked, rows=0, row_bytes=limits.bytes)
                return replace(found, columns=await _columns(connection, empty))
        except (TimeoutError, errors.LockNotAvailable, errors.QueryCanceled) as error:
            raise _timed_out(error, limits) from error
        except psycopg.Error as error:
            if error.sqlstate is None:  # the connection, not the statement
                raise
            if error.sqlstate == "25P04":
                raise _timed_out(error, limits) from error
            raise _failed(error, statement, checked) from error


@asynccontextmanager
async def _session(connection: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
    """A read-only transaction, of which nothing is left afterwards."""
    autocommit = connection.autocommit
    await connection.set_autocommit(True)
    try:
        yield
    finally:
        if not connection.closed:
            try:
                await connection.execute("ROLLBACK", prepare=False)
                await connection.execute("DISCARD ALL", prepare=False)
                await connection.set_autocommit(autocommit)
            except BaseException:
                await connection.close()
                raise


async def _enter(
    connection: psycopg.AsyncConnection[Any], limits: Limits, time_zone: str, schema: str
) -> None:
    server, known = connection.info.server_version // 10_000, parser.get_postgresql_version()[0]
    if server > known:
        raise UnfitConnectionError(
            f"Postgres {server} is newer than the parser of ad-hoc SQL ({known}): update pglast"
        )
    if connection.info.encoding != "utf-8":
        raise UnfitConnectionError("ad-hoc SQL needs a connection with client_encoding UTF8")
    await connection.execute("BEGIN TRANSACTION READ ONLY", prepare=False)
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _ENTER_SQL,
            {
                "statement_timeout": _milliseconds(limits.statement_seconds),
                "transaction_timeout": _milliseconds(limits.statement_seconds + _GRACE_SECONDS),
                "lock_timeout": _milliseconds(limits.lock_seconds),
                "time_zone": time_zone,
                "schema": schema,
            },
            prepare=False,
        )
        may = await cursor.fetchone()
    if may is None:
        raise UnfitConnectionError("Postgres did not say what the role may do")
    role = connection.info.user
    if may["is_powerful"]:
        raise UnfitConnectionError(
            f"role {role} may create objects or has an administrator's rights: ad-hoc SQL is run"
            " only as a role that can read and nothing else (local/sql/adhoc_role.sql)"
        )
    if may["is_unlimited"]:
        raise UnfitConnectionError(
            f"role {role} has no limit of connections or of temporary files: a superuser runs"
            " local/sql/adhoc_role.sql in the warehouse"
        )
    if more := may["other_schemas"] + may["writable"]:
        raise UnfitConnectionError(
            f"role {role} may use more than it should: {', '.join(more)}; ad-hoc SQL is run only as"
            f" a role that reads schema {schema} and nothing else (local/sql/adhoc_role.sql)"
        )


async def _read(
    connection: psycopg.AsyncConnection[Any], statement: Bounded, limits: Limits
) -> Rows:
    started = time.monotonic()
    rows: list[tuple[Any, ...]] = []
    size = 0
    truncated: Literal["rows", "bytes"] | None = None
    async with connection.cursor(row_factory=tuple_row) as cursor:
        json_safe(cursor.adapters)
        # Row by row, so that no more than one row is here before it is counted.
        answer = cursor.stream(statement.sql.encode())
        async with aclosing(cast("AsyncGenerator[tuple[Any, ...], None]", answer)) as stream:
            async for row_bytes, *values in stream:
                if len(rows) == limits.rows:
                    truncated = "rows"
                    continue  # it is the last one: the statement asks for one row more
                if size + row_bytes > limits.bytes:
                    truncated = "bytes"
                    break
                size += row_bytes
                rows.append(tuple(values))
        columns = _described(cursor)
    return Rows(
        columns=columns,
        rows=rows,
        truncated=truncated,
        byte_count=size,
        seconds=time.monotonic() - started,
    )


async def _columns(
    connection: psycopg.AsyncConnection[Any], statement: Bounded
) -> tuple[Column, ...]:
    async with connection.cursor() as cursor:
        await cursor.execute(statement.sql.encode(), prepare=False)
        return _described(cursor)


def _described(cursor: psycopg.AsyncCursor[Any]) -> tuple[Column, ...]:
    return tuple(
        Column(column.name, type_name(cursor.adapters, column.type_code))
        for column in (cursor.description or ())[1:]
    )


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))


def _timed_out(error: BaseException, limits: Limits) -> StatementTimedOutError:
    if isinstance(error, errors.LockNotAvailable):
        return StatementTimedOutError(
            f"a table it reads is being changed; it waited {limits.lock_seconds:g} s"
        )
    return StatementTimedOutError(
        f"it ran longer than {limits.statement_seconds:g} s: read fewer days, or aggregate less"
    )


def _failed(error: psycopg.Error, statement: Bounded, checked: Checked) -> StatementFailedError:
    diagnosis = error.diag
    reason = diagnosis.message_primary or "Postgres could not run it"
    if diagnosis.message_hint:
        reason = f"{reason} ({diagnosis.message_hint})"
    position = None
    if diagnosis.statement_position is not None:
        within = int(diagnosis.statement_position) - statement.offset
        if 1 <= within <= len(checked.sql):
            position = within + checked.offset
    return StatementFailedError(reason, position, error.sqlstate)
