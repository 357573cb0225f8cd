"""The way every call takes: token, policy, rate limit and cache, then the endpoint.

Belongs here: the order of those steps, the router endpoints are added to, and what an endpoint may
ask for. Does not belong here: the steps themselves, each of which has a module.

A call that is answered from the cache never reaches FastAPI's parameters and dependencies: its path
and query were validated when the answer was made, and the key holds all that the answer depends on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api import problems
from api.answers import MEDIA_TYPES, Answer, Variant, variant_of
from api.cache import Body, body
from api.database import Reading
from api.policy import Access, permits
from api.principal import Principal
from api.problems import Kind, Problem
from api.rate_limits import Admission

if TYPE_CHECKING:
    from api.app import Services

RateClass = Literal["read", "heavy", "export", "sql"]
Cached = Literal["scope", "account", "never"]
_ATTRIBUTE = "__boxoffice_call__"
_VARY = (b"vary", b"Authorization, Accept")
_PRIVATE = (b"cache-control", b"private, no-cache")
_DataT = TypeVar("_DataT")


class Enveloped(BaseModel, Generic[_DataT]):
    """``{data, meta}`` as OpenAPI shows it."""

    model_config = ConfigDict(extra="forbid")

    data: _DataT
    meta: dict[str, Any]


class Parameters(BaseModel):
    """Base of query parameters and bodies: an unknown field is refused, never ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Call:
    """How an endpoint is called.

    Attributes:
        access: who may.
        reads: finished tables it reads; their versions are in its cache key and ``data_version``.
        rate: class of its rate limit.
        cached: whom an answer may be shared with.
    """

    access: Access
    reads: tuple[str, ...]
    rate: RateClass
    cached: Cached


class BytesResponse(Response):
    """Bytes with headers that were put together for them."""

    def __init__(self, status: int, content: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Take them as they are."""
        self.status_code = status
        self.body = content
        self.background = None
        self.raw_headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": self.body})


def limit_headers(admission: Admission) -> list[tuple[bytes, bytes]]:
    """What a caller may still do."""
    return [
        (b"ratelimit-limit", b"%d" % admission.limit),
        (b"ratelimit-remaining", b"%d" % admission.remaining),
        (b"ratelimit-reset", b"%d" % admission.reset_seconds),
    ]


class CallRoute(APIRoute):
    """A route whose calls take that way."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """The way, in front of FastAPI's own handler."""
        inner = super().get_route_handler()
        call: Call | None = getattr(self.endpoint, _ATTRIBUTE, None)
        if call is None:
            return inner

        async def handle(request: Request) -> Response:
            scope = request.scope
            services: Services = scope["app"].state.services
            principal, accept, condition = await _authenticate(scope, services)
            scope["boxoffice.principal"] = principal
            if not permits(call.access, principal):
                services.metrics.refused("policy")
                raise Problem(
                    Kind.FORBIDDEN, f"A token of role {principal.role.value} may not ask for this."
                )
            variant = variant_of(accept)
            if variant is None:
                raise Problem(
                    Kind.NOT_ACCEPTABLE, f"Formats are {', '.join(MEDIA_TYPES.values())}."
                )
            key, version = _key(services, call, principal, variant, scope)
            admission = await services.limits.admit(principal, call.rate, key)
            if admission.is_local:
                services.metrics.local_limits.inc()
            limits = limit_headers(admission)
            if not admission.is_admitted:
                services.metrics.refused("rate limit")
                raise _too_many(admission)
            scope["boxoffice.headers"] = limits
            answer = None if key is None else services.cache.found(key, admission.stored)
            if answer is None:
                made = await _make(services, inner, request, (key, version), variant)
                if isinstance(made, Response):
                    return made
                answer = made
            return _respond(answer, variant, condition, limits)

        return handle


async def _authenticate(scope: Scope, services: Services) -> tuple[Principal, bytes, bytes | None]:
    """The caller, and the headers ``Accept`` and ``If-None-Match``."""
    authorization: bytes | None = None
    condition: bytes | None = None
    accept = b"*/*"
    for name, value in scope["headers"]:
        if name == b"authorization":
            if authorization is not None:
                raise Problem(Kind.BAD_REQUEST, "There are two headers `Authorization`.")
            authorization = value
        elif name == b"accept":
            accept = value
        elif name == b"if-none-match":
            condition = value
    if authorization is not None:
        principal = services.tokens.remembered(authorization)
        if principal is not None:
            return principal, accept, condition
    try:
        return await services.tokens.verify(authorization), accept, condition
    except Problem:
        services.metrics.refused("token")
        raise


def _key(
    services: Services, call: Call, principal: Principal, variant: Variant, scope: Scope
) -> tuple[str | None, str | None]:
    """Key under which an answer is looked for, and the version in it."""
    if call.cached == "never":
        return None, None
    version = services.database.publications.version(call.reads)
    if version is None:
        return None, None
    whose = principal.scope
    if call.cached == "account":
        whose = f"{whose}/{principal.fingerprint}"
    path, query = scope["path"], scope["query_string"]
    return services.cache.key(whose, variant, path, query, version), version


async def _make(
    services: Services,
    inner: Callable[[Request], Awaitable[Response]],
    request: Request,
    wanted: tuple[str | None, str | None],
    variant: Variant,
) -> Body | Response:
    """The endpoint's answer: a body that may be kept and shared, or a response as it is."""
    key, version = wanted

    async def compute() -> Body:
        response = await inner(request)
        reading: Reading | None = request.scope.get("boxoffice.reading")
        if reading is not None:
            await reading.release()  # what follows needs no connection
        if not isinstance(response, Answer) or response.status_code != 200 or response.is_special:
            raise _NotShared(response)
        made = body(response.encoded(variant))
        # A snapshot may be newer than the version that was looked for: then it is not kept.
        snapshot = reading.version if reading is not None and reading.has_read else None
        if key is not None and (snapshot == version or not _call(request).reads):
            await services.cache.store(key, made)
        return made

    try:
        return await services.cache.compute(key, compute)
    except _NotShared as outcome:
        response = outcome.response
    if isinstance(response, Answer):
        response = response.plain(variant)
    response.raw_headers.extend(request.scope["boxoffice.headers"])
    if "cache-control" not in response.headers:
        response.headers["Cache-Control"] = "private, no-store"
    return response


class _NotShared(Exception):  # noqa: N818 - carries a response past those who wait for a body
    def __init__(self, response: Response) -> None:
        super().__init__("an answer of its own")
        self.response = response


def _call(request: Request) -> Call:
    found: Call = getattr(request.scope["endpoint"], _ATTRIBUTE)
    return found


def _respond(
    answer: Body, variant: Variant, condition: bytes | None, limits: list[tuple[bytes, bytes]]
) -> Response:
    etag = answer.etag.encode()
    headers = [*limits, (b"etag", etag), _PRIVATE, _VARY]
    if condition is not None and (etag in condition or condition.strip() == b"*"):
        return BytesResponse(304, b"", headers)
    headers += [
        (b"content-type", MEDIA_TYPES[variant].encode()),
        (b"content-length", b"%d" % len(answer.content)),
    ]
    return BytesResponse(200, answer.content, headers)


def _too_many(admission: Admission) -> Problem:
    headers = {name.decode(): value.decode() for name, value in limit_headers(admission)}
    return Problem(
        Kind.RATE_LIMITED,
        f"{admission.limit} requests a minute are allowed; go on in {admission.reset_seconds} s.",
        headers=headers | {"Retry-After": str(admission.reset_seconds)},
    )


# --- What an endpoint may ask for ---------------------------------------------------------------


def _principal(request: Request) -> Principal:
    found: Principal = request.scope["boxoffice.principal"]
    return found


async def _caller(request: Request) -> Principal:
    return _principal(request)


async def _reading(request: Request) -> AsyncIterator[Reading]:
    services: Services = request.app.state.services
    reads = _call(request).reads
    async with services.database.reading(_principal(request), reads) as reading:
        request.scope["boxoffice.reading"] = reading
        yield reading


async def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Caller = Annotated[Principal, Depends(_caller)]
"""Parameter of an endpoint: who calls."""

Read = Annotated[Reading, Depends(_reading, scope="function")]
"""Parameter of an endpoint: a snapshot in which the caller sees what is theirs."""


Parts = Annotated[Any, Depends(_services)]
"""Parameter of an endpoint: the application's ``Services``."""


class Calls(APIRouter):
    """A router whose endpoints are called that way."""

    def __init__(self, prefix: str, tag: str) -> None:
        """Below a path, under a heading of the documentation."""
        super().__init__(prefix=prefix, tags=[tag], route_class=CallRoute)

    def answer(
        self,
        path: str,
        *,
        access: Access,
        reads: tuple[str, ...],
        rate: RateClass = "read",
        cached: Cached = "scope",
        shows: Any = Any,
        example: object = None,
        problem_kinds: tuple[Kind, ...] = (),
    ) -> Callable[[Callable[..., Awaitable[Answer]]], Callable[..., Awaitable[Answer]]]:
        """Add a GET endpoint that returns an ``Answer``.

        Args:
            reads: every finished table it reads: its answers are kept until one of them changes.
            cached: whom answers are shared with: all of the same role and organizer (``scope``),
                the same account, or nobody.
            shows: type of ``data``, for OpenAPI.
            example: an answer, for OpenAPI.
            problem_kinds: besides those that any call may end with.
        """
        call = Call(access, tuple(sorted(reads)), rate, cached)
        return self._added(path, "GET", call, 200, shows, example, problem_kinds)

    def action(
        self,
        path: str,
        *,
        access: Access,
        method: Literal["GET", "POST", "DELETE"] = "POST",
        reads: tuple[str, ...] = (),
        rate: RateClass = "read",
        status: int = 200,
        shows: Any = Any,
        example: object = None,
        problem_kinds: tuple[Kind, ...] = (),
    ) -> Callable[[Callable[..., Awaitable[Response]]], Callable[..., Awaitable[Response]]]:
        """Add an endpoint whose answers are never kept; it may return any response."""
        call = Call(access, tuple(sorted(reads)), rate, "never")
        return self._added(path, method, call, status, shows, example, problem_kinds)

    def _added(
        self,
        path: str,
        method: str,
        call: Call,
        status: int,
        shows: Any,
        example: object,
        problem_kinds: tuple[Kind, ...],
    ) -> Callable[[Any], Any]:
        success: dict[str, Any] = {"model": Enveloped[shows], "description": "Answered."}
        if example is not None:
            success["content"] = {"application/json": {"example": example}}
        kinds = (*_ANY, *problem_kinds)

        def add(endpoint: Any) -> Any:
            setattr(endpoint, _ATTRIBUTE, call)
            self.add_api_route(
                path,
                endpoint,
                methods=[method],
                status_code=status,
                response_model=None,
                responses={**problems.openapi(*kinds), status: success},
                openapi_extra={"security": [{"bearer": []}]},
            )
            return endpoint

        return add


_ANY = (
    Kind.BAD_REQUEST,
    Kind.UNAUTHENTICATED,
    Kind.FORBIDDEN,
    Kind.NOT_ACCEPTABLE,
    Kind.INVALID,
    Kind.RATE_LIMITED,
    Kind.INTERNAL,
    Kind.UNAVAILABLE,
    Kind.TOO_SLOW,
)


def template_of(scope: Mapping[str, Any]) -> str:
    """Path template of the route that a request went to; the same for all that went to none."""
    route = scope.get("route")
    return getattr(route, "path", None) or "unmatched"
