"""The answer cache: bytes as they were sent, in Redis, for five minutes at most.

Belongs here: the key, the envelope that tells garbage from an answer, what a worker holds, and one
computation for many who ask the same. Does not belong here: which version is current
(``api.publications``), or the line to Redis.

A key is made of everything an answer depends on: this code, format, role and organizer, path and
query, the reporting day, and the version of the tables. So a publication makes older answers
unreachable, whatever is left in Redis. Errors have no way in.

A worker holds what it made or fetched last, for as long as Redis would have kept it. Usually that
only saves sending it: Redis says whether it still has the same. When Redis does not answer in time,
what is held under the very same key is the answer.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b, sha256
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from isal import igzip

from api.rate_limits import CLEARED, Admission
from api.redis_link import NoAnswerError, RedisLink
from metrics.calendar import business_date, day_bounds

PREFIX = "boxoffice:answer:"
_MAGIC = {False: b"BO2", True: b"BOZ"}  # as it is, or compressed
_DIGEST = 16
_HEAD = 3 + 2 * _DIGEST + 4
_COMPRESSED_FROM = 1024  # bytes; a smaller answer fits a packet or two as it is
_MAX_BYTES = 8 * 1024 * 1024  # a larger answer is sent, not kept
_SCAN = 1000
_LEVEL = 1
HELD_BYTES = 16 * 1024 * 1024
"""What a worker holds of answers that Redis has, so that they need not be sent to it again."""


@dataclass(slots=True)
class Body:
    """An encoded answer.

    Attributes:
        digest: hash of its bytes; with the encoding it is its ETag.
    """

    content: bytes
    digest: bytes
    _compressed: bytes | None = field(default=None, compare=False)

    def compressed(self) -> bytes | None:
        """Its bytes as gzip, made once; None where it is too small for that."""
        if self._compressed is None and len(self.content) >= _COMPRESSED_FROM:
            self._compressed = igzip.compress(self.content, _LEVEL, mtime=0)
        return self._compressed

    @property
    def size(self) -> int:
        """Bytes that it takes here."""
        return len(self.content) + len(self._compressed or b"")


@dataclass(slots=True)
class Held:
    """An answer in this worker.

    Attributes:
        until: ``time.monotonic()`` at which Redis drops it.
    """

    body: Body
    until: float


OUTCOMES = ("hits", "held", "misses", "shared", "garbage", "stored", "not_stored", "bypassed")
"""What can become of a request; ``held``: Redis did not answer, this worker had the answer."""


def body(content: bytes) -> Body:
    """The body of an answer."""
    # Processors have instructions for this one: half the time of BLAKE2 on a year of revenue.
    return Body(content, sha256(content).digest()[:_DIGEST])


def pack(key: str, answer: Body) -> bytes:
    """The envelope under which a body is kept."""
    compressed = answer.compressed()
    content = answer.content if compressed is None else compressed
    rest = _digest(key) + answer.digest + content
    return _MAGIC[compressed is not None] + zlib.crc32(rest).to_bytes(4, "big") + rest


def unpack(key: str, stored: bytes | None) -> Body | None:
    """The body kept under a key; None where it is not one that was kept under this key."""
    if stored is None or len(stored) <= _HEAD or stored[:3] not in _MAGIC.values():
        return None
    check, start = int.from_bytes(stored[3:7], "big"), 7 + _DIGEST
    if zlib.crc32(memoryview(stored)[7:]) != check or stored[7:start] != _digest(key):
        return None
    digest, content = stored[start : start + _DIGEST], stored[start + _DIGEST :]
    if stored[:3] == _MAGIC[False]:
        return Body(content, digest)
    return Body(igzip.decompress(content), digest, content)  # type: ignore[no-untyped-call]


def _digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=_DIGEST).digest()


@lru_cache(maxsize=4096)
def normalized(query: bytes) -> bytes:
    """A query string whose fields are in order; the same for two that mean the same."""
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode(sorted(fields, key=lambda field: field[0])).encode()


def code_version() -> str:
    """Hash of the code that makes answers: a release never serves the answers of another one."""
    root = Path(__file__).parent.parent
    digest = blake2b(digest_size=8)
    for package in ("api", "metrics", "exports"):
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".sql"):
                digest.update(path.read_bytes())
    return digest.hexdigest()


class AnswerCache:
    """Keeps answers.

    Args:
        seconds: how long; 0: not at all.
        time_zone: the reporting time zone; an answer of yesterday is not one of today.
        observe: told each outcome.
    """

    def __init__(
        self, link: RedisLink, seconds: int, time_zone: str, observe: Callable[[str], None]
    ) -> None:
        """Keep nothing yet."""
        self._observe = observe
        self._link = link
        self._seconds = seconds
        self._time_zone = time_zone
        self._prefix = f"{PREFIX}{code_version()}:".encode()
        self._today = b""
        self._tomorrow_at = 0.0
        self._under_way: dict[str, asyncio.Future[Body]] = {}
        self.held_limit = HELD_BYTES
        self._held: dict[str, Held] = {}
        self._held_bytes = 0
        self._cleared: bytes | None = None
        self._storing: set[asyncio.Task[None]] = set()
        self.counts = dict.fromkeys(OUTCOMES, 0)

    def key(self, scope: str, variant: str, path: str, query: bytes, version: str) -> str | None:
        """Key of an answer; None while nothing is kept."""
        if not self._seconds:
            return None
        if time.time() >= self._tomorrow_at:
            self._turn_day()
        parts = (
            *(self._prefix, self._today, version.encode(), scope.encode(), variant.encode()),
            *(path.encode(), normalized(query)),
        )
        return PREFIX + blake2b(b"\0".join(parts), digest_size=_DIGEST).hexdigest()

    def held(self, key: str) -> Held | None:
        """The answer this worker saw last under a key."""
        return self._held.get(key)

    def found(self, key: str, admission: Admission, held: Held | None) -> Body | None:
        """The answer that Redis had, or that is held while Redis does not answer; counts it.

        Args:
            held: what was held when Redis was asked.
        """
        if admission.is_local:
            held = self._held.get(key)  # meanwhile the cache may have been cleared
            if held is None or time.monotonic() >= held.until:
                self._count("misses")
                return None
            self._count("held")
            return held.body
        if admission.cleared != self._cleared:
            self._cleared = admission.cleared
            self._drop()
        stored = admission.stored
        if isinstance(stored, int):
            if held is None:
                raise RuntimeError("Redis has the same as is held, but nothing is")
            held.until = time.monotonic() + admission.seconds_left
            self._count("hits")
            return held.body
        answer = unpack(key, stored)
        if answer is not None:
            self._hold(key, answer, time.monotonic() + admission.seconds_left)
            self._count("hits")
        elif stored is None:
            self._count("misses")
        else:
            self._count("garbage")
        return answer

    async def compute(self, key: str | None, compute: Callable[[], Awaitable[Body]]) -> Body:
        """The answer, computed once for all who ask for it at the same time in this worker.

        Args:
            compute: raises for what is not an answer; everybody who waits is told the same.
        """
        if key is None:
            self._count("bypassed")
            return await compute()
        while (under_way := self._under_way.get(key)) is not None:
            self._count("shared")
            try:
                return await asyncio.shield(under_way)
            except asyncio.CancelledError:
                if not under_way.cancelled():
                    raise  # it is this request that was given up, not the one that computes
        mine: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
        mine.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._under_way[key] = mine
        try:
            answer = await compute()
        except asyncio.CancelledError:
            mine.cancel()
            raise
        except Exception as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(answer)
            return answer
        finally:
            del self._under_way[key]

    def store_soon(self, key: str, answer: Body) -> None:
        """Hold an answer, and keep it if Redis takes it in time; nobody waits for it."""
        self._hold(key, answer, time.monotonic() + self._seconds)
        task = asyncio.create_task(self._store(key, answer))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def settle(self) -> None:
        """Wait until what is being kept is kept, or is not."""
        await asyncio.gather(*self._storing)

    async def _store(self, key: str, answer: Body) -> None:
        if len(answer.content) > _MAX_BYTES:
            self._count("not_stored")
            return
        try:
            await self._link.call("SET", key, pack(key, answer), "EX", self._seconds)
            self._count("stored")
        except NoAnswerError:
            self._count("not_stored")

    async def clear(self) -> int:
        """Delete every answer of every worker; returns how many.

        Raises:
            NoAnswerError: Redis does not answer.
        """
        # First of all: what other workers hold is no answer once they have heard of this.
        await self._link.call("INCR", CLEARED)
        self._drop()
        cursor, deleted = 0, 0
        while True:
            found, keys = await self._link.call(
                "SCAN", cursor, "MATCH", f"{PREFIX}*", "COUNT", _SCAN
            )
            if keys:
                deleted += await self._link.call("UNLINK", *keys)
            cursor = int(found)
            if cursor == 0:
                return deleted

    def _drop(self) -> None:
        self._held.clear()
        self._held_bytes = 0

    def _hold(self, key: str, answer: Body, until: float) -> None:
        if (before := self._held.pop(key, None)) is not None:
            self._held_bytes -= before.body.size
        answer.compressed()  # before it is measured
        if answer.size * 8 > self.held_limit:
            return
        self._held[key] = Held(answer, until)
        self._held_bytes += answer.size
        while self._held_bytes > self.held_limit:
            oldest = self._held.pop(next(iter(self._held)))
            self._held_bytes -= oldest.body.size

    def _count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        self._observe(outcome)

    def _turn_day(self) -> None:
        today = business_date(self._time_zone, datetime.now(UTC))
        self._today = today.isoformat().encode()
        self._tomorrow_at = day_bounds(self._time_zone, today)[1].timestamp()
