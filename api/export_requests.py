"""What is common to exports and recurring exports: bodies, pages, and queueing a request.

Belongs here: what a caller may write, telling what is wrong with it, and cursors. Does not belong
here: endpoints (``api.routes``), what is right to ask for (``exports.submission``), or files.

``exports.submission`` brings DuckDB and Polars, 90 MB: it is imported by the first call that asks
for an export, so that workers that serve numbers only stay small.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID, uuid4

import psycopg
from fastapi import FastAPI
from pydantic import Field, model_validator

from api.calls import Parameters
from api.database import Row
from api.principal import Principal
from api.problems import Kind, Problem, invalid
from api.writing import publisher
from exports.filters import RequestError
from exports.masking import Role
from warehouse.export_jobs import IdempotencyConflictError, create_job
from warehouse.export_rights import RightError, remember_right
from warehouse.export_states import Job

T = TypeVar("T")
ExportType = Literal[
    "attendees",
    "orders",
    "requests",
    "payments",
    "refunds",
    "movements",
    "daily_metrics",
    "daily_payments",
    "daily_ticket_types",
    "weekly_revenue",
    "monthly_revenue",
    "event_summary",
    "revenue",
]
FormatName = Literal["csv", "xlsx", "pdf", "json", "ndjson", "parquet"]
MAX_COLUMNS = 200
_MAX_DEPTH = 8
_LONGEST_CURSOR = 200


class Written(Parameters):
    """How an export is written."""

    columns: list[str] | None = Field(
        None,
        description="Names in the order they are written; the type's own selection if left out.",
        min_length=1,
        max_length=MAX_COLUMNS,
    )
    format: FormatName = "csv"
    options: dict[str, Any] = Field(
        {},
        description="Of the format: `packaging` (`one_file`, `file_per_event`); CSV also has `bom`,"
        " `delimiter` and `decimal_separator`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, values: Any) -> Any:
        """Refuse what Postgres cannot keep as JSON."""
        _check(values, 0)
        return values


class Asked(Written):
    """What is exported."""

    type: ExportType = Field(description="Dataset.")
    filters: dict[str, Any] = Field(
        {},
        description="Which rows: `events`, `ticket_types`, `currencies`, days as `{first, last}`"
        " and more, by type; a wrong name is answered with those there are.",
    )
    reason: str | None = Field(
        None,
        description="Why a super admin needs personal data clear: it is recorded. Without it the"
        " data is masked.",
        min_length=3,
        max_length=500,
        pattern=r"\S",
    )


class Page(Parameters):
    """A page of a list."""

    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(
        None, description="`next` of the page before.", max_length=_LONGEST_CURSOR
    )

    @property
    def after(self) -> tuple[datetime, UUID] | None:
        """Where the page begins."""
        return None if self.cursor is None else _read_cursor(self.cursor)

    @property
    def parameters(self) -> dict[str, object]:
        """For a statement: one row more than is shown tells whether there is a next page."""
        at, key = self.after or (None, None)
        return {"at": at, "id": key, "limit": self.limit + 1}

    def next(self, rows: Sequence[Mapping[str, Any]], key: str) -> str | None:
        """Cursor of the next page; None on the last one.

        Args:
            rows: found with ``parameters``.
            key: column of their ids.
        """
        if len(rows) <= self.limit:
            return None
        last = rows[self.limit - 1]
        return make_cursor(last["created_at"], last[key])


def make_cursor(at: datetime, key: UUID) -> str:
    """A cursor, which means nothing to its reader."""
    text = json.dumps([at.isoformat(), key.hex])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True)
        at, key = json.loads(text)
        found = datetime.fromisoformat(at), UUID(key)
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise invalid("query.cursor", "is not one that was given out", "cursor") from None
    if found[0].tzinfo is None:
        raise invalid("query.cursor", "is not one that was given out", "cursor")
    return found


def mine(caller: Principal, **parameters: object) -> dict[str, object]:
    """Parameters of a statement about what is the caller's own."""
    return {"account": caller.account, "role": caller.role.value, **parameters}


def check_reason(caller: Principal, reason: str | None) -> None:
    """Refuse a reason that would have no effect.

    Raises:
        Problem: the caller is not a super admin.
    """
    if reason is not None and caller.role is not Role.SUPER_ADMIN:
        raise invalid("body.reason", "only a super admin's reason shows data; leave it out")


async def write(app: FastAPI, function: Callable[[psycopg.Connection[Row]], T]) -> T:
    """Run a function of the warehouse as the publisher; what it refuses becomes a problem.

    Raises:
        Problem: with every wrong field, or because the right was taken away.
    """
    try:
        return await publisher(app).run(function)
    except RequestError as error:
        raise _refused(error) from None
    except RightError as error:
        raise Problem(Kind.FORBIDDEN, f"{str(error).capitalize()}.") from None
    except IdempotencyConflictError:
        raise invalid(
            "header.Idempotency-Key",
            "was used for another request: send that one again, or this one with a new key",
            "reused",
        ) from None


async def queue(
    app: FastAPI,
    caller: Principal,
    dataset: str,
    written: Written,
    filters: Mapping[str, Any],
    *,
    key: str | None,
    reason: str | None = None,
) -> Job:
    """Queue an export, once for each key of an account.

    Args:
        key: None: nobody repeats the request.

    Raises:
        Problem: it is not right, or the key was used for another request.
    """

    def function(connection: psycopg.Connection[Row]) -> Job:
        from exports.submission import checked

        remember_right(connection, caller.account, caller.role.value, caller.organizer_id)
        request = checked(
            connection,
            caller.account,
            caller.requester(reason),
            dataset,
            filters=dict(filters),
            columns=written.columns,
            format_name=written.format,
            options=written.options,
        )
        return create_job(connection, request, key or uuid4().hex)[0]

    return await write(app, function)


_FIELDS = {"dataset": "type"}


def _refused(error: RequestError) -> Problem:
    errors = []
    for found in error.problems:
        first, *rest = found.field.split(".")
        field = ".".join(["body", _FIELDS.get(first, first), *rest])
        errors.append({"field": field, "code": "invalid", "message": found.message})
    names = ", ".join(dict.fromkeys(found["field"] for found in errors))
    return Problem(Kind.INVALID, f"Wrong or unknown: {names}.", errors=errors)


def _check(value: object, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"is nested more than {_MAX_DEPTH} deep")
    match value:
        case str():
            if "\0" in value:
                raise ValueError("has a NUL character in it")
        case dict():
            for name, inner in value.items():
                _check(name, depth + 1)
                _check(inner, depth + 1)
        case list():
            for inner in value:
                _check(inner, depth + 1)
        case _:
            pass
