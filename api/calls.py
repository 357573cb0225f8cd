"""Endpoints: the router they are added to, what they may ask for, and their answers.

Belongs here: registering an endpoint with its access, tables and rate, its parameters, and keeping
what it answers. Does not belong here: what a call passes before (``api.front``), or endpoints
(``api.routes``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api import problems
from api.answers import Answer
from api.cache import Body, body
from api.database import Reading
from api.front import Admitted, Cached, Call, RateClass, Table, respond
from api.policy import Access
from api.principal import Principal
from api.problems import Kind

if TYPE_CHECKING:
    from api.app import Services

_ATTRIBUTE = "__boxoffice_call__"
_TEXT = {"schema": {"type": "string"}}
_UNCHANGED = {"description": "Unchanged: the caller has it (`If-None-Match`)."}
_DataT = TypeVar("_DataT")


class Enveloped(BaseModel, Generic[_DataT]):
    """``{data, meta}`` as OpenAPI shows it."""

    model_config = ConfigDict(extra="forbid")

    data: _DataT
    meta: dict[str, Any]


class Parameters(BaseModel):
    """Base of query parameters and bodies: an unknown field is refused, never ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _Kept(Response):
    """An answer that may be kept and shared, on its way out."""

    def __init__(self, answer: Body, admitted: Admitted) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = []
        self._answer = answer
        self._admitted = admitted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, self._answer, self._admitted)


class _NotSharedError(Exception):
    """Carries a response past those who wait for a body."""

    def __init__(self, response: Response, request: Request) -> None:
        super().__init__("an answer of its own")
        self.response = response
        self.request = request


class CallRoute(APIRoute):
    """A route whose calls come through the front."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """What is done with a call that was not answered from the cache."""
        inner = super().get_route_handler()
        call: Call | None = getattr(self.endpoint, _ATTRIBUTE, None)
        if call is None:
            return inner

        known = _query_fields(self)

        async def handle(request: Request) -> Response:
            admitted: Admitted = request.scope["boxoffice.admitted"]
            if admitted.call is not call:
                raise RuntimeError(f"{self.path} was admitted as another call")
            if request.scope["query_string"]:
                _check_query(request, known)
            return await _answer(request.scope["app"].state.services, inner, request, admitted)

        return handle


def _check_query(request: Request, known: frozenset[str] | None) -> None:
    """Refuse fields that are unknown, or there twice: which of two was meant cannot be told."""
    seen = set[str]()
    for name, _ in request.query_params.multi_items():
        if known is not None and name not in known:
            raise problems.invalid(f"query.{name}", "is not known", "extra_forbidden")
        if name in seen:
            raise problems.invalid(f"query.{name}", "is given more than once", "repeated")
        seen.add(name)


def _query_fields(route: APIRoute) -> frozenset[str] | None:
    """Names of the query's fields; None where a model says which there are."""
    fields = route.dependant.query_params
    annotations = [field.field_info.annotation for field in fields]
    if any(isinstance(found, type) and issubclass(found, BaseModel) for found in annotations):
        return None
    return frozenset(field.alias for field in fields)


async def _answer(
    services: Services,
    inner: Callable[[Request], Awaitable[Response]],
    request: Request,
    admitted: Admitted,
) -> Response:
    async def compute() -> Body:
        response = await inner(request)
        reading: Reading | None = request.scope.get("boxoffice.reading")
        if reading is not None:
            await reading.release()  # what follows needs no connection
        if not isinstance(response, Answer) or response.status_code != 200 or response.is_special:
            raise _NotSharedError(response, request)
        made = body(response.encoded(admitted.variant))
        # A snapshot may be newer than the version that was looked for: then it is not kept.
        snapshot = reading.version if reading is not None and reading.has_read else None
        if admitted.key is not None and (snapshot == admitted.version or not admitted.call.reads):
            services.cache.store_soon(admitted.key, made)
        return made

    try:
        return _Kept(await services.cache.compute(admitted.key, compute), admitted)
    except _NotSharedError as outcome:
        # It is of the request that computed; who waited for it asks for one of their own.
        response = outcome.response if outcome.request is request else await inner(request)
    if isinstance(response, Answer):
        response = response.plain(admitted.variant)
    response.raw_headers.extend(admitted.limits)
    if "cache-control" not in response.headers:
        response.headers["Cache-Control"] = "private, no-store"
    return response


# --- What an endpoint may ask for ---------------------------------------------------------------


def _admitted(request: Request) -> Admitted:
    found: Admitted = request.scope["boxoffice.admitted"]
    return found


async def _caller(request: Request) -> Principal:
    return _admitted(request).principal


async def _reading(request: Request) -> AsyncIterator[Reading]:
    services: Services = request.app.state.services
    admitted = _admitted(request)
    reads = admitted.call.reads
    async with services.database.reading(admitted.principal, reads) as reading:
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

    def enter(self, table: Table) -> None:
        """Tell the front of every endpoint."""
        for route in self.routes:
            call = getattr(getattr(route, "endpoint", None), _ATTRIBUTE, None)
            if isinstance(route, APIRoute) and call is not None:
                table.add(route.methods or (), route.path, call)

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
        tabular: bool = True,
        problem_kinds: tuple[Kind, ...] = (),
    ) -> Callable[[Callable[..., Awaitable[Answer]]], Callable[..., Awaitable[Answer]]]:
        """Add a GET endpoint that returns an ``Answer``.

        Args:
            reads: every finished table it reads: its answers are kept until one of them changes.
            cached: whom answers are shared with: all of the same role and organizer (``scope``),
                the same account, or nobody.
            shows: type of ``data``, for OpenAPI.
            example: an answer, for OpenAPI.
            tabular: whether it has a ``table``, for OpenAPI.
            problem_kinds: besides those that any call may end with.
        """
        call = Call(access, tuple(sorted(reads)), rate, cached)
        return self._added(path, "GET", call, 200, shows, example, tabular, problem_kinds)

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
        tabular: bool = False,
        problem_kinds: tuple[Kind, ...] = (),
    ) -> Callable[[Callable[..., Awaitable[Response]]], Callable[..., Awaitable[Response]]]:
        """Add an endpoint whose answers are never kept; it may return any response."""
        call = Call(access, tuple(sorted(reads)), rate, "never")
        return self._added(path, method, call, status, shows, example, tabular, problem_kinds)

    def _added(
        self,
        path: str,
        method: str,
        call: Call,
        status: int,
        shows: Any,
        example: object,
        tabular: bool,
        problem_kinds: tuple[Kind, ...],
    ) -> Callable[[Any], Any]:
        content: dict[str, Any] = (
            {} if example is None else {"application/json": {"example": example}}
        )
        if tabular:
            content |= {"text/csv": _TEXT, "application/x-ndjson": _TEXT}
        success = {"model": Enveloped[shows], "description": "Answered.", "content": content}
        responses = problems.openapi(*_ANY, *problem_kinds)
        if method == "GET":
            responses[304] = _UNCHANGED
        else:
            responses |= problems.openapi(Kind.TOO_LARGE)

        def add(endpoint: Any) -> Any:
            setattr(endpoint, _ATTRIBUTE, call)
            self.add_api_route(
                path,
                endpoint,
                methods=[method],
                status_code=status,
                response_model=None,
                responses={**responses, status: success},
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
