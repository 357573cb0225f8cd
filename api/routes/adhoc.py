"""Ad-hoc SQL: one SELECT by an administrator, checked, recorded and run.

Belongs here: the endpoint, and which problem each end of a statement is. Does not belong here:
what may be asked and how it is run (``api.adhoc``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from pydantic import Field

from api.adhoc.asking import ask
from api.adhoc.gate import RefusedError
from api.adhoc.runner import (
    Limits,
    StatementFailedError,
    StatementTimedOutError,
)
from api.answers import DEFINITIONS, Answer
from api.calls import Caller, Calls, Parameters, Parts
from api.policy import Access
from api.problems import Kind, Problem
from api.writing import adhoc_sessions, publisher

T = TypeVar("T")
_MOST_ROWS = Limits().rows
_LONGEST_TEXT = 100_000
"""Far longer than any statement that is allowed: what is too long is refused, and recorded."""
_EXAMPLE = {
    "data": {
        "columns": [{"name": "currency", "type": "text"}, {"name": "gross", "type": "numeric"}],
        "rows": [["KES", "1250000"]],
        "row_count": 1,
        "truncated": None,
    },
    "meta": {
        "time_zone": "Africa/Nairobi",
        "relations": ["reporting.daily_metrics"],
        "definitions": DEFINITIONS,
        "limits": {"rows": 10_000, "bytes": 8_388_608, "seconds": 10.0},
        "bytes": 12,
        "seconds": 0.004,
    },
}

router = Calls("/api/v1/admin", "Ad-hoc SQL")


class Statement(Parameters):
    """A statement."""

    sql: str = Field(
        description="One SELECT on the tables of `reporting`, for example `SELECT currency,"
        " sum(gross_revenue) AS gross FROM reporting.daily_metrics GROUP BY 1`. Money is in minor"
        " units: never add currencies.",
        max_length=_LONGEST_TEXT,
    )
    max_rows: int = Field(_MOST_ROWS, ge=1, le=_MOST_ROWS, description="Rows given at most.")


@router.action(
    "/sql",
    access=Access.ADHOC_SQL,
    rate="sql",
    shows=dict[str, Any],
    example=_EXAMPLE,
    problem_kinds=(Kind.TOO_LARGE,),
)
async def sql(body: Statement, request: Request, parts: Parts, caller: Caller) -> Answer:
    """Run one SELECT on the finished tables; read-only, with limits, recorded.

    `truncated` says which limit cut the answer: `rows`, `bytes`, or none. A statement that is
    refused or fails is a 422 whose `reason` and `position` (from 1) say what is wrong and where.
    """
    sessions, records = adhoc_sessions(request.app), publisher(request.app)
    limits = Limits(
        rows=body.max_rows,
        statement_seconds=min(
            Limits().statement_seconds, parts.settings.api_statement_timeout_seconds
        ),
    )
    try:
        found = await _while_connected(
            request,
            ask(
                body.sql,
                account=caller.account,
                role=caller.role,
                connect=sessions.connection,
                publisher=records.connection,
                limits=limits,
                time_zone=parts.settings.time_zone,
            ),
        )
    except RefusedError as error:
        raise _problem(error.reason, error.position, "refused") from None
    except StatementFailedError as error:
        raise _problem(str(error), error.position, "failed", sqlstate=error.sqlstate) from None
    except StatementTimedOutError as error:
        raise Problem(Kind.TOO_SLOW, f"The statement was stopped: {error}.") from None
    rows, columns = found.rows.rows, found.rows.columns
    data = {
        "columns": [{"name": column.name, "type": column.type} for column in columns],
        "rows": rows,
        "row_count": len(rows),
        "truncated": found.rows.truncated,
    }
    meta = {
        "time_zone": parts.settings.time_zone,
        "relations": sorted(f"reporting.{name}" for name in found.checked.relations),
        "definitions": DEFINITIONS,
        "limits": {
            "rows": limits.rows,
            "bytes": limits.bytes,
            "seconds": limits.statement_seconds,
        },
        "bytes": found.rows.byte_count,
        "seconds": round(found.rows.seconds, 6),
    }
    # A table without meta must still tell that it was cut.
    headers = {"X-Truncated": found.rows.truncated or "no"}

    def table() -> list[dict[str, Any]]:
        names = _distinct([column.name for column in columns])
        return [dict(zip(names, row, strict=True)) for row in rows]

    return Answer(data, meta, table=table, headers=headers)


async def _while_connected(request: Request, asked: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns; if the client goes away it is cancelled, as nobody would read it.

    The few sessions of ad-hoc SQL are for those who wait.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answer, end = asyncio.create_task(asked), asyncio.create_task(gone())
    try:
        await asyncio.wait({answer, end}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise Problem(Kind.BAD_REQUEST, "The client went away.")
        return answer.result()
    finally:
        for task in (answer, end):
            task.cancel()
        await asyncio.gather(answer, end, return_exceptions=True)


def _problem(reason: str, position: int | None, code: str, sqlstate: str | None = None) -> Problem:
    members: dict[str, object] = {"reason": reason, "position": position}
    if sqlstate is not None:
        members["sqlstate"] = sqlstate
    where = "" if position is None else f" (character {position})"
    return Problem(
        Kind.INVALID,
        f"The statement was {'not run' if code == 'refused' else 'stopped'}: {reason}{where}.",
        errors=[{"field": "body.sql", "code": code, "message": reason}],
        members=members,
    )


def _distinct(names: list[str]) -> list[str]:
    """Names for the columns of a flat table: SQL allows the same name twice."""
    found: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for name in names:
        unique = name
        while unique in found:
            numbers[name] = numbers.get(name, 1) + 1
            unique = f"{name}_{numbers[name]}"
        found[unique] = None
    return list(found)
