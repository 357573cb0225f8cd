"""The record of ad-hoc SQL: what was asked, before it runs, and how it ended.

Belongs here: writing ``ops.adhoc_queries``, which is only ever appended to. Does not belong here:
deciding or running (``api.adhoc.gate``, ``api.adhoc.runner``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg

from api.adhoc.gate import MAX_CHARACTERS
from exports.masking import Role

_RECORD_SQL = (Path(__file__).parent / "sql" / "record.sql").read_bytes()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the record: a statement that was asked, or the end of an allowed one.

    Attributes:
        ends: entry of the allowed statement whose end this is; None where one was asked.
        statement: the text as it was given; None in an end.
        row_count: rows given; only of one that succeeded.
        truncated: the cap that cut the answer.
    """

    account: str
    role: Role
    outcome: Literal["refused", "allowed", "succeeded", "failed", "cancelled"]
    statement: str | None = None
    ends: int | None = None
    reason: str | None = None
    row_count: int | None = None
    truncated: Literal["rows", "bytes"] | None = None
    milliseconds: int | None = None


async def record(connection: psycopg.AsyncConnection[Any], entry: Entry) -> int:
    """Append to the record and commit; returns the entry's number.

    Characters that Postgres cannot keep are written as escapes, and of a text longer than any that
    is allowed only the beginning is kept, beside its length.

    Args:
        connection: as the publisher role.
    """
    values: dict[str, object] = asdict(entry) | {"characters": None}
    if entry.statement is not None:
        values["characters"] = len(entry.statement)
        values["statement"] = _storable(entry.statement[:MAX_CHARACTERS])
    if entry.reason is not None:
        values["reason"] = _storable(entry.reason)
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(_RECORD_SQL, values)
        row = await cursor.fetchone()
    if row is None:
        raise RuntimeError("the record of ad-hoc SQL returned no entry")
    return int(row["entry"] if isinstance(row, dict) else row[0])


def _storable(text: str) -> str:
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()
