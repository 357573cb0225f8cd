"""The answer cache: bytes as they were sent, in Redis, for five minutes at most.

Belongs here: the key, the envelope that tells garbage from an answer, and one computation for many
who ask the same. Does not belong here: which version is current (``api.publications``), or the line
to Redis.

A key is made of everything an answer depends on: this code, format, role and organizer, path and
query, the reporting day, and the version of the tables. So a publication makes older answers
unreachable, whatever is left in Redis. Errors have no way in.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from api.redis_link import NoAnswerError, RedisLink
from metrics.calendar import business_date, day_bounds

PREFIX = "boxoffice:answer:"
_MAGIC = b"BO1"
_DIGEST = 16
_HEAD = len(_MAGIC) + 2 * _DIGEST + 4
_MAX_BYTES = 8 * 1024 * 1024  # a larger answer is sent, not kept
_SCAN = 1000
HELD_BYTES = 16 * 1024 * 1024
"""What a worker holds of answers that Redis has, so that they need not be sent to it again."""


@dataclass(frozen=True, slots=True)
class Body:
    """An encoded answer.

    Attributes:
        digest: hash of its bytes, which is its ETag.
    """

    content: bytes
    digest: bytes

    @property
    def etag(self) -> bytes:
        """The header's value."""
        return b'"%b"' % self.digest.hex().encode()


OUTCOMES = ("hits", "misses", "shared", "garbage", "stored", "not_stored", "bypassed")
"""What can become of a request."""


def body(content: bytes) -> Body:
    """The body of an answer."""
    return Body(content, blake2b(content, digest_size=_DIGEST).digest())


def pack(key: str, answer: Body) -> bytes:
    """The envelope under which a body is kept."""
    rest = _digest(key) + answer.digest + answer.content
    return _MAGIC + zlib.crc32(rest).to_bytes(4, "big") + rest


def unpack(key: str, stored: bytes | None) -> Body | None:
    """The body kept under a key; None where it is not one that was kept under this key."""
    if stored is None or len(stored) <= _HEAD or not stored.startswith(_MAGIC):
        return None
    check, start = int.from_bytes(stored[3:7], "big"), 7 + _DIGEST
    if zlib.crc32(stored[7:]) != check or stored[7:start] != _digest(key):
        return None
    return Body(stored[start + _DIGEST :], stored[start : start + _DIGEST])


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
        self._held: dict[str, Body] = {}
        self._held_bytes = 0
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

    def held(self, key: str) -> Body | None:
        """The answer this worker saw last under a key; served only if Redis still has the same."""
        return self._held.get(key)

    def found(self, key: str, stored: bytes | int | None, held: Body | None) -> Body | None:
        """The answer that Redis had, if it is one; counts it.

        Args:
            stored: from Redis; a number: that which is held.
        """
        answer = held if isinstance(stored, int) else unpack(key, stored)
        if answer is not None:
            if answer is not held:
                self._hold(key, answer)
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
        """Keep an answer if Redis takes it in time; nobody waits for it."""
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

    def _hold(self, key: str, answer: Body) -> None:
        if (before := self._held.pop(key, None)) is not None:
            self._held_bytes -= len(before.content)
        if len(answer.content) * 8 > self.held_limit:
            return
        self._held[key] = answer
        self._held_bytes += len(answer.content)
        while self._held_bytes > self.held_limit:
            oldest = self._held.pop(next(iter(self._held)))
            self._held_bytes -= len(oldest.content)

    def _count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        self._observe(outcome)

    def _turn_day(self) -> None:
        today = business_date(self._time_zone, datetime.now(UTC))
        self._today = today.isoformat().encode()
        self._tomorrow_at = day_bounds(self._time_zone, today)[1].timestamp()
