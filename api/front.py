"""What every call passes before its endpoint: token, policy, rate limit, cache.

Belongs here: the order of those steps, and answering from the cache. Does not belong here: the
steps themselves, each of which has a module, or endpoints (``api.calls``).

It stands in front of FastAPI: a call that is answered from the cache reaches neither its routing
nor its parameters. They were validated when the answer was made, and the key holds all that the
answer depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from re import Pattern
from typing import TYPE_CHECKING, Literal

from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.answers import MEDIA_TYPES, Variant, variant_of
from api.cache import Body
from api.policy import Access, permits
from api.principal import Principal
from api.problems import Kind, Problem
from api.rate_limits import Admission
from api.tracing import redis_call

if TYPE_CHECKING:
    from api.app import Services

RateClass = Literal["read", "heavy", "export", "sql"]
Cached = Literal["scope", "account", "never"]
Headers = list[tuple[bytes, bytes]]
MAX_BODY_BYTES = 256 * 1024
_REMEMBERED_PATHS = 4096
_SHARED_HEADERS = [
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Authorization, Accept, Accept-Encoding"),
]
_TYPES = {variant: name.encode() for variant, name in MEDIA_TYPES.items()}


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


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call on its way to its endpoint.

    Attributes:
        key: where its answer is kept; None: nowhere.
        version: of the tables it reads, as the key has it.
        condition: header ``If-None-Match``.
        takes_gzip: whether the caller takes a compressed body.
        limits: response headers that say what the caller may still do.
    """

    call: Call
    principal: Principal
    variant: Variant
    key: str | None
    version: str | None
    condition: bytes | None
    takes_gzip: bool
    limits: Headers


@dataclass(slots=True)
class _Asked:
    """Headers of a request that the front reads."""

    authorization: bytes | None = None
    accept: bytes = b"*/*"
    encodings: bytes = b""
    condition: bytes | None = None
    length: bytes = b"0"


class Table:
    """Which call a path is, in the order in which the endpoints were added."""

    def __init__(self) -> None:
        """Know none yet."""
        self._patterns: list[tuple[str, Pattern[str], str, Call]] = []
        self._known: dict[tuple[str, str], tuple[str, Call]] = {}

    def add(self, methods: Iterable[str], template: str, call: Call) -> None:
        """Add an endpoint."""
        pattern = compile_path(template)[0]
        self._patterns += [(method, pattern, template, call) for method in methods]

    def find(self, method: str, path: str) -> tuple[str, Call] | None:
        """Template and call of a path; None for what is not a call."""
        found = self._known.get((method, path))
        if found is not None:
            return found
        for of_method, pattern, template, call in self._patterns:
            if of_method == method and pattern.match(path):
                if len(self._known) >= _REMEMBERED_PATHS:
                    self._known.clear()
                self._known[method, path] = template, call
                return template, call
        return None


class Front:
    """The layer: raises a problem, answers from the cache, or lets the call go on."""

    def __init__(self, app: ASGIApp, services: Callable[[], Services], table: Table) -> None:
        """In front of ``app``."""
        self._app = app
        self._services = services
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request."""
        found = self._table.find(scope["method"], scope["path"]) if "method" in scope else None
        if found is None:
            await self._app(scope, receive, send)
            return
        services = self._services()
        scope["boxoffice.template"], call = found
        asked = _asked(scope)
        principal = await _authenticate(asked, services)
        scope["boxoffice.principal"] = principal
        services.database.viewers.saw(principal)
        if not permits(call.access, principal):
            services.metrics.refused("policy")
            raise Problem(
                Kind.FORBIDDEN, f"A token of role {principal.role.value} may not ask for this."
            )
        variant = variant_of(asked.accept)
        if variant is None:
            raise Problem(Kind.NOT_ACCEPTABLE, f"Formats are {', '.join(MEDIA_TYPES.values())}.")
        key, version = _key(services, call, principal, variant, scope)
        held = None if key is None else services.cache.held(key)
        etag = b"" if held is None else held.body.digest
        with redis_call():
            admission = await services.limits.admit(principal, call.rate, key, etag)
        if admission.is_local:
            services.metrics.local_limits.inc()
        limits = _limit_headers(admission)
        scope["boxoffice.headers"] = limits
        if not admission.is_admitted:
            services.metrics.refused("rate limit")
            raise Problem(
                Kind.RATE_LIMITED,
                f"{admission.limit} requests a minute are allowed; go on in "
                f"{admission.reset_seconds} s.",
                headers={"Retry-After": str(admission.reset_seconds)},
            )
        admitted = Admitted(
            call,
            principal,
            variant,
            key,
            version,
            asked.condition,
            takes_gzip(asked.encodings),
            limits,
        )
        if key is not None:
            answer = services.cache.found(key, admission, held)
            if answer is not None:
                await respond(send, answer, admitted)
                return
        scope["boxoffice.admitted"] = admitted
        if scope["method"] != "GET":  # of which no body is read
            receive = _bounded(asked, receive)
        await self._app(scope, receive, send)


async def respond(send: Send, answer: Body, admitted: Admitted) -> None:
    """Send an answer, compressed for who takes that, or 304 where the caller has it."""
    content, condition = answer.content, admitted.condition
    compressed = answer.compressed() if admitted.takes_gzip else None
    name = answer.digest.hex().encode()
    # Other bytes, another ETag; either of them says that the caller has this answer.
    etag = b'"%b"' % name if compressed is None else b'"%b-gzip"' % name
    headers = [*admitted.limits, (b"etag", etag), *_SHARED_HEADERS]
    if condition is not None and (name in condition or condition.strip() == b"*"):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    headers.append((b"content-type", _TYPES[admitted.variant]))
    if compressed is not None:
        headers.append((b"content-encoding", b"gzip"))
        content = compressed
    headers.append((b"content-length", b"%d" % len(content)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@lru_cache(maxsize=512)
def takes_gzip(encodings: bytes) -> bool:
    """Whether a header ``Accept-Encoding`` names gzip, or everything, and does not rule it out."""
    named: dict[str, bool] = {}
    for part in encodings.decode("latin-1").lower().split(","):
        name, *options = (text.strip() for text in part.split(";"))
        refused = any(option.rstrip("0.") == "q=" for option in options)
        named[name] = not refused
    return named.get("gzip", named.get("*", False))


def _asked(scope: Scope) -> _Asked:
    asked = _Asked()
    for name, value in scope["headers"]:
        if name == b"authorization":
            if asked.authorization is not None:
                raise Problem(Kind.BAD_REQUEST, "There are two headers `Authorization`.")
            asked.authorization = value
        elif name == b"accept":
            asked.accept = value
        elif name == b"accept-encoding":
            asked.encodings = value
        elif name == b"if-none-match":
            asked.condition = value
        elif name == b"content-length":
            asked.length = value
    return asked


def _bounded(asked: _Asked, receive: Receive) -> Receive:
    """The body, if it is no longer than it may be.

    Raises:
        HTTPException: it says that it is; what is returned raises it once it is.
    """
    too_large = HTTPException(413)
    if asked.length.isdigit() and int(asked.length) > MAX_BODY_BYTES:
        raise too_large
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise too_large
        return message

    return bounded


async def _authenticate(asked: _Asked, services: Services) -> Principal:
    """The caller."""
    if asked.authorization is not None:
        principal = services.tokens.remembered(asked.authorization)
        if principal is not None:
            return principal
    try:
        return await services.tokens.verify(asked.authorization)
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


def _limit_headers(admission: Admission) -> Headers:
    return [
        (b"ratelimit-limit", b"%d" % admission.limit),
        (b"ratelimit-remaining", b"%d" % admission.remaining),
        (b"ratelimit-reset", b"%d" % admission.reset_seconds),
    ]
