"""Errors as RFC 9457 problem details.

Belongs here: the kinds of problem, their stable type URIs, and turning every exception into one.
Does not belong here: deciding that something is wrong.

A problem never shows what was sent, what a statement said, or where the code is: values may be
personal data, and the rest is nobody's business. The request id leads to the log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import psycopg
import psycopg_pool
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_LOG = logging.getLogger("boxoffice.api")
_URI = "urn:boxoffice:problem:"
MEDIA_TYPE = "application/problem+json"


class Kind(Enum):
    """A kind of problem: status and title; its type URI is ``urn:boxoffice:problem:<name>``."""

    BAD_REQUEST = (400, "The request cannot be understood")
    UNAUTHENTICATED = (401, "No valid token")
    FORBIDDEN = (403, "The token's role may not do this")
    NOT_FOUND = (404, "Not found")
    METHOD_NOT_ALLOWED = (405, "Method not allowed")
    NOT_ACCEPTABLE = (406, "This answer does not come in that format")
    CONFLICT = (409, "The request conflicts with the present state")
    TOO_LARGE = (413, "The request is too large")
    UNSUPPORTED_MEDIA_TYPE = (415, "The body's format is not understood")
    INVALID = (422, "The request is not valid")
    RATE_LIMITED = (429, "Too many requests")
    INTERNAL = (500, "Something went wrong here")
    UNAVAILABLE = (503, "Not available now")
    TOO_SLOW = (504, "The answer took too long")

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.value[0]

    @property
    def title(self) -> str:
        """What it is, in the same words each time."""
        return self.value[1]

    @property
    def uri(self) -> str:
        """Stable type URI."""
        return _URI + self.name.lower().replace("_", "-")


class Problem(Exception):  # noqa: N818 - the standard's word
    """What is wrong, as the caller is told.

    Args:
        kind: which problem.
        detail: this case of it and what to do, safe to show.
        errors: for each wrong field ``field`` (``query.from``), ``code`` and ``message``.
        headers: further response headers.
        members: further members of the body.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        """Keep it."""
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def not_found() -> Problem:
    """What foreign and absent things have in common: the same words for both."""
    return Problem(Kind.NOT_FOUND, "There is no such thing, or it is not yours.")


def invalid(field: str, message: str, code: str = "invalid") -> Problem:
    """One wrong field, named like ``query.from``."""
    error = {"field": field, "code": code, "message": message}
    return Problem(Kind.INVALID, f"{field}: {message}", errors=[error])


def unavailable(detail: str = "The database does not answer.", retry_after: int = 2) -> Problem:
    """A part is away; ``retry_after`` in seconds."""
    return Problem(Kind.UNAVAILABLE, detail, headers={"Retry-After": str(retry_after)})


def from_exception(error: Exception) -> Problem:
    """The problem an exception is; anything unknown says nothing internal."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _from_validation(error)
        case HTTPException():
            return _from_http(error)
        case psycopg.errors.QueryCanceled():
            return Problem(
                Kind.TOO_SLOW, "The statement was stopped: ask for less, for example fewer days."
            )
        case psycopg_pool.TooManyRequests() | psycopg_pool.PoolTimeout():
            return unavailable("No database connection became free in time.")
        case psycopg.OperationalError() if _is_crowded(error):
            return unavailable("All database connections of this kind are in use.")
        case psycopg.OperationalError() | psycopg_pool.PoolClosed():
            return unavailable()
        case _:
            return Problem(
                Kind.INTERNAL, "The error is in the log under the request id. Nothing was changed."
            )


def _is_crowded(error: psycopg.OperationalError) -> bool:
    # libpq tells the code of a refused connection to nobody, only its words.
    return error.sqlstate == "53300" or "too many connections" in str(error)


def _from_validation(error: RequestValidationError) -> Problem:
    errors = [
        {
            "field": ".".join(str(part) for part in found["loc"]),
            "code": str(found["type"]),
            "message": str(found["msg"]),
        }
        for found in error.errors()
    ]
    if any(found["code"] == "json_invalid" for found in errors):
        return Problem(Kind.BAD_REQUEST, "The body is not JSON.", errors=errors)
    names = ", ".join(dict.fromkeys(found["field"] for found in errors))
    return Problem(Kind.INVALID, f"Wrong or unknown: {names}.", errors=errors)


def _from_http(error: HTTPException) -> Problem:
    found = next((kind for kind in Kind if kind.status == error.status_code), None)
    kind = found or (Kind.BAD_REQUEST if error.status_code < 500 else Kind.INTERNAL)
    detail = {
        Kind.NOT_FOUND: "There is no such path.",
        Kind.METHOD_NOT_ALLOWED: "The path is known, not with this method; see `Allow`.",
        Kind.TOO_LARGE: "Bodies have up to 256 KiB.",
    }.get(kind, kind.title)
    return Problem(kind, f"{detail.rstrip('.')}.", headers=error.headers)


def response(problem: Problem, request_id: str) -> Response:
    """The answer that tells it."""
    body: dict[str, Any] = {
        "type": problem.kind.uri,
        "title": problem.kind.title,
        "status": problem.kind.status,
        "detail": problem.detail,
        "request_id": request_id,
    }
    if problem.errors:
        body["errors"] = problem.errors
    headers = {"Cache-Control": "no-store"} | problem.headers
    if problem.kind is Kind.UNAUTHENTICATED:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="boxoffice"')
    return Response(
        to_json(body | problem.members),
        status_code=problem.kind.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


async def handle(request: Request, error: Exception) -> Response:
    """Exception handler of the application: logs what is ours to mend, answers with a problem."""
    problem = from_exception(error)
    if problem.kind in (Kind.INTERNAL, Kind.UNAVAILABLE, Kind.TOO_SLOW):
        # The traceback of an outage says nothing new; that of a mistake is what is needed.
        _LOG.error(
            "%s: %s",
            problem.kind.name.lower(),
            type(error).__name__,
            exc_info=error if problem.kind is Kind.INTERNAL else None,
            extra={"request_id": request.scope["boxoffice.request_id"]},
        )
    answer = response(problem, request.scope["boxoffice.request_id"])
    answer.raw_headers.extend(
        header
        for header in request.scope.get("boxoffice.headers", ())
        if header[0].decode() not in answer.headers
    )
    return answer


def install(app: FastAPI) -> None:
    """Register the handler for everything but the unforeseen, which the outermost layer catches."""
    for kind in (
        Problem,
        RequestValidationError,
        HTTPException,
        psycopg.Error,
        psycopg_pool.PoolTimeout,
        psycopg_pool.TooManyRequests,
        psycopg_pool.PoolClosed,
    ):
        app.add_exception_handler(kind, handle)


def openapi(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that may answer with these problems."""
    return {
        kind.status: {
            "description": kind.title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for kind in kinds
    }


SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "enum": [kind.uri for kind in Kind]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "This case of it, and what to do."},
        "request_id": {"type": "string", "description": "Also in the header X-Request-ID."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {
                    "field": {"type": "string", "description": "For example query.from."},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
