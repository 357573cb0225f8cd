"""The access log: who was given personal data, in a chain of hashes.

Belongs here: appending an entry and finding entries that were altered or removed. Does not belong
here: what counts as personal data, and for whom (``exports``), or the hash itself, which the
database computes (``ops.append_access``), so that no client can write an entry it did not compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from warehouse.statements import statement


@dataclass(frozen=True, kw_only=True)
class Access:
    """Personal data that an account was given.

    Attributes:
        organizer_id: organizer whose rows alone were read; None for every organizer's.
        action: what was done, for example ``export``.
        clear_columns: columns with personal data that were shown clear.
        reason: why, as the actor gave it.
        row_count: rows shown.
    """

    actor: str
    role: str
    organizer_id: int | None
    action: str
    job_id: UUID | None
    dataset: str
    filters: Mapping[str, object]
    clear_columns: Sequence[str]
    reason: str | None
    row_count: int


@dataclass(frozen=True)
class Anchor:
    """The newest entry at some moment. Kept elsewhere, it shows that the log was cut off or redone.

    Attributes:
        hash: SHA-256 of the entry and of all before it, in hexadecimal digits.
    """

    entry: int
    hash: str


def append_access(connection: psycopg.Connection[Any], access: Access) -> Anchor:
    """Append to the access log; other appends wait until the caller's transaction ends."""
    values = vars(access) | {
        "filters": Jsonb(dict(access.filters)),
        "clear_columns": Jsonb(list(access.clear_columns)),
    }
    row = connection.execute(statement("append_access"), values).fetchone()
    if row is None:
        raise RuntimeError("the access log returned no entry")
    return Anchor(**row)


def newest_access(connection: psycopg.Connection[Any]) -> Anchor | None:
    """The newest entry; None while the log is empty."""
    row = connection.execute(
        "SELECT entry, encode(hash, 'hex') AS hash FROM ops.access_log ORDER BY entry DESC LIMIT 1"
    ).fetchone()
    return Anchor(**row) if row else None


def verify_access_log(
    connection: psycopg.Connection[Any], anchor: Anchor | None = None
) -> list[str]:
    """What is wrong with the log, one sentence for each finding; empty where it is whole.

    Args:
        anchor: an entry known from elsewhere. Without one, entries removed from the end, or a
            chain computed anew from some entry on, cannot be told from a log that is whole.
    """
    found = []
    for row in connection.execute(statement("verify_access_log")).fetchall():
        entry, expected = row["entry"], row["expected_entry"]
        if row["is_gap"]:
            found.append(f"entries {expected} to {entry - 1} are missing")
        if row["is_altered"]:
            found.append(f"entry {entry} was altered: its content does not have its hash")
        if row["is_unchained"] and not row["is_gap"]:
            found.append(
                f"entry {entry} does not follow entry {entry - 1}: one of them was altered"
            )
    if anchor is not None:
        known = connection.execute(
            "SELECT encode(hash, 'hex') AS hash FROM ops.access_log WHERE entry = %s",
            (anchor.entry,),
        ).fetchone()
        if known is None:
            found.append(f"entry {anchor.entry}, which is known to have been written, is missing")
        elif known["hash"] != anchor.hash:
            found.append(
                f"entry {anchor.entry} has another hash than when it was written: it or an entry"
                " before it was altered"
            )
    return found
