"""One ad-hoc question from text to answer: checked, recorded, run, recorded.

Belongs here: that nothing runs unrecorded, and that every end is recorded. Does not belong here:
who may ask (``api.policy``), and how the answer is written (``api.routes``).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from api.adhoc.audit import Entry, record
from api.adhoc.gate import Checked, RefusedError, check
from api.adhoc.relations import relations
from api.adhoc.runner import AdhocError, Connect, Limits, Rows, run
from exports.masking import Role


@dataclass(frozen=True)
class Answer:
    """A statement's rows, and what was checked: ``checked.relations`` are the tables it reads."""

    checked: Checked
    rows: Rows


async def ask(
    sql: str,
    *,
    account: str,
    role: Role,
    connect: Connect,
    publisher: Connect,
    limits: Limits,
    time_zone: str = "UTC",
) -> Answer:
    """Check, record and run a statement.

    Args:
        account: who asks, as the token names them.
        connect: gives a connection as the role of ad-hoc SQL.
        publisher: gives a connection as the publisher, for the record.

    Raises:
        RefusedError: it may not be run.
        AdhocError: it was run and gave no answer.
        UnfitConnectionError, psycopg.OperationalError: as in :func:`api.adhoc.runner.run`.
        ValueError: the role may not ask at all.
    """
    readable = relations(role)
    asked = Entry(account=account, role=role, outcome="allowed", statement=sql)
    try:
        checked = check(sql, readable)
    except RefusedError as error:
        await _append(publisher, replace(asked, outcome="refused", reason=error.reason))
        raise
    number = await _append(publisher, asked)
    end = Entry(account=account, role=role, outcome="failed", ends=number)
    started = time.monotonic()

    async def ended(entry: Entry) -> None:
        milliseconds = round((time.monotonic() - started) * 1000)
        # A client that goes away must not keep the end out of the record.
        await asyncio.shield(_append(publisher, replace(entry, milliseconds=milliseconds)))

    try:
        rows = await run(connect, checked, limits, time_zone=time_zone)
    except asyncio.CancelledError:
        await ended(replace(end, outcome="cancelled", reason="the client went away"))
        raise
    except AdhocError as error:
        await ended(replace(end, reason=str(error)))
        raise
    except Exception as error:
        await ended(replace(end, reason=f"it could not be run: {type(error).__name__}"))
        raise
    await ended(
        replace(end, outcome="succeeded", row_count=len(rows.rows), truncated=rows.truncated)
    )
    return Answer(checked, rows)


async def _append(publisher: Connect, entry: Entry) -> int:
    async with publisher() as connection:
        return await record(connection, entry)
