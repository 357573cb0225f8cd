"""The right of an account to own recurring exports, which run when nobody is signed in.

Belongs here: remembering what a verified call proved, taking the right away, and whether it still
holds. Does not belong here: verifying who calls (the read API), or what a role may see
(``exports.masking``).

The platform alone knows accounts. What is known here is how an account was last seen, so a right
that was not seen for long is worth nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from warehouse.export_states import database_now
from warehouse.statements import statement

SEEN_EVERY = timedelta(hours=1)
"""How long after an account was seen that is not noted again."""


class RightError(PermissionError):
    """The account may not own the recurring export; says why and what to do."""


class UnknownAccountError(LookupError):
    """The account was never seen."""


@dataclass(frozen=True, kw_only=True)
class Right:
    """A row of ``ops.export_rights``; the columns' comments say what each is."""

    account: str
    role: str
    organizer_id: int | None
    granted_at: datetime
    seen_at: datetime
    revoked_at: datetime | None
    revoked_reason: str | None


def remember_right(
    connection: psycopg.Connection[Any], account: str, role: str, organizer_id: int | None
) -> Right:
    """Note that an account proved its role and organizer just now; a revoked right stays so.

    Args:
        role: from a verified token. Viewers, who cannot ask for exports: ``note_viewer``.
    """
    values = {"account": account, "role": role, "organizer_id": organizer_id, "every": SEEN_EVERY}
    connection.execute(statement("remember_export_right"), values)
    right = _right(connection, account)
    if right is None:
        raise RuntimeError("a right that was just written cannot be read")
    return right


def note_viewer(
    connection: psycopg.Connection[Any], account: str, organizer_id: int | None
) -> None:
    """Note that an account proved just now to be a viewer, who may own nothing.

    What it owns from the time it was something else is paused when it is due next. An account that
    never was is not written down.

    Args:
        organizer_id: whose numbers the viewer sees; None for everybody's.
    """
    values = {"account": account, "organizer_id": organizer_id}
    connection.execute(statement("note_viewer"), values)


def revoke_right(connection: psycopg.Connection[Any], account: str, reason: str) -> Right:
    """Take the right away: what the account owns is paused when it is due next.

    Args:
        reason: for the owner to read.

    Raises:
        UnknownAccountError: the account was never seen, so there is nothing to take away.
    """
    row = connection.execute(
        statement("revoke_export_right"), {"account": account, "reason": reason}
    ).fetchone()
    return _known(row, account)


def restore_right(connection: psycopg.Connection[Any], account: str) -> Right:
    """Give a revoked right back; what was paused stays so until its owner resumes it.

    Raises:
        UnknownAccountError: the account was never seen.
    """
    row = connection.execute(statement("restore_export_right"), {"account": account}).fetchone()
    return _known(row, account)


def check_right(
    connection: psycopg.Connection[Any],
    account: str,
    role: str,
    organizer_id: int | None,
    stale_after: timedelta,
    *,
    lock: bool = False,
) -> None:
    """Whether an account may, at this moment, own a recurring export of a role and organizer.

    Args:
        stale_after: how long a right holds without being seen.
        lock: hold the right to the end of the transaction: of an account's calls, one at a time.

    Raises:
        RightError: it may not.
    """
    right = _right(connection, account, lock=lock)
    if right is None:
        raise RightError("the account is not known here: call the API once with it, then try again")
    if right.revoked_at is not None:
        raise RightError(
            f"the right to recurring exports was taken away ({right.revoked_reason}); ask an"
            " administrator of the platform"
        )
    if (right.role, right.organizer_id) != (role, organizer_id):
        raise RightError(
            f"the account is now {_described(right.role, right.organizer_id)}, and the export was"
            f" set up as {_described(role, organizer_id)}: set it up anew"
        )
    if right.seen_at < database_now(connection) - stale_after:
        raise RightError(
            f"the account was last seen on {right.seen_at:%Y-%m-%d}, more than {stale_after.days}"
            " days ago: sign in, then resume the export"
        )


def _described(role: str, organizer_id: int | None) -> str:
    return role if organizer_id is None else f"{role} {organizer_id}"


def _right(
    connection: psycopg.Connection[Any], account: str, *, lock: bool = False
) -> Right | None:
    query = b"SELECT * FROM ops.export_rights WHERE account = %s"
    row = connection.execute(query + (b" FOR UPDATE" if lock else b""), (account,)).fetchone()
    return Right(**row) if row else None


def _known(row: dict[str, Any] | None, account: str) -> Right:
    if row is None:
        raise UnknownAccountError(f"the account {account} was never seen")
    return Right(**row)
