"""Rate limits: how many requests a principal may make in any minute, by class of route.

Belongs here: the classes, the sliding window in Redis, and what is counted while Redis is away.
Does not belong here: which route has which class (the routes say), or the line to Redis.

The window slides by whole seconds and is counted in one atomic script: however many requests
arrive at once, in no 60 seconds more than the limit pass; a slot may come back up to a second late.
The script also fetches the cached answer, so that both cost one round trip. While Redis does not
answer, each worker counts by itself, with its share of the limit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

from redis.exceptions import NoScriptError

from api.principal import Principal
from api.redis_link import NoAnswerError, RedisLink

CLEARED = "boxoffice:cleared"
"""How often the answer cache was cleared."""
WINDOW_SECONDS = 60
DEFAULT_LIMITS: Mapping[str, int] = {"read": 600, "heavy": 60, "export": 20, "sql": 30}
"""Requests in any minute: ``read`` finished numbers, ``heavy`` what scans, exports, ad-hoc SQL."""
_PRINCIPALS = 10_000

# Fields: a count for each second of the window, n their sum, s the newest second.
ADMIT = """
local now = tonumber(redis.call('TIME')[1])
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'n', 's')
local n, s = tonumber(known[1]) or 0, tonumber(known[2]) or 0
if s > now then now = s end
if s < now then
  n = 0
  local counts = redis.call('HGETALL', KEYS[1])
  for i = 1, #counts, 2 do
    local second = tonumber(counts[i])
    if second then
      if second < now - window then redis.call('HDEL', KEYS[1], counts[i])
      else n = n + tonumber(counts[i + 1]) end
    end
  end
  redis.call('HSET', KEYS[1], 'n', n, 's', now)
  redis.call('EXPIRE', KEYS[1], window + 2)
end
if n >= limit then
  local first = now
  for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
    local second = tonumber(name)
    if second and second < first then first = second end
  end
  return {0, 0, first + window + 1 - now, false, 0, false}
end
redis.call('HINCRBY', KEYS[1], now, 1)
redis.call('HINCRBY', KEYS[1], 'n', 1)
local stored, left, cleared = false, 0, false
if #KEYS > 1 then
  left = redis.call('PTTL', KEYS[2])
  cleared = redis.call('GET', KEYS[3])
  -- Bytes 24 to 39 of the envelope are its ETag (api/cache.py).
  if ARGV[3] ~= '' and string.sub(redis.call('GETRANGE', KEYS[2], 0, 38), 24, 39) == ARGV[3] then
    stored = 1
  else
    stored = redis.call('GET', KEYS[2])
  end
end
return {1, limit - n - 1, window, stored, left, cleared}
"""
_SHA = sha1(ADMIT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may go on.

    Attributes:
        remaining: further requests that could follow at once.
        reset_seconds: when a request will certainly be admitted again.
        stored: what Redis has under the cache key that was asked for; 1: what is held already.
        seconds_left: how much longer Redis keeps it; not above 0 where that is not known.
        cleared: changes when the cache is cleared.
        is_local: counted by this worker alone, because Redis does not answer.
    """

    is_admitted: bool
    limit: int
    remaining: int
    reset_seconds: int
    stored: bytes | int | None = None
    seconds_left: float = 0.0
    cleared: bytes | None = None
    is_local: bool = False


@dataclass
class LocalWindows:
    """The same window in this process: for principals by key, the oldest forgotten first."""

    _counts: dict[str, dict[int, int]] = field(default_factory=dict)

    def admit(self, key: str, limit: int, now: int | None = None) -> Admission:
        """Count a request; ``now`` in seconds."""
        second = int(time.monotonic()) if now is None else now
        counts = self._counts.pop(key, {})
        counts = {at: n for at, n in counts.items() if at >= second - WINDOW_SECONDS}
        while len(self._counts) >= _PRINCIPALS:
            del self._counts[next(iter(self._counts))]
        self._counts[key] = counts
        taken = sum(counts.values())
        if taken >= limit:
            reset = min(counts) + WINDOW_SECONDS + 1 - second
            return Admission(False, limit, 0, reset, is_local=True)
        counts[second] = counts.get(second, 0) + 1
        return Admission(True, limit, limit - taken - 1, WINDOW_SECONDS, is_local=True)


class RateLimits:
    """Admits requests.

    Args:
        limits: by class of route, where they are not the default ones.
        workers: processes among which the limit is divided while Redis is away.

    Raises:
        ValueError: a class that does not exist, or a limit below one.
    """

    def __init__(self, link: RedisLink, limits: Mapping[str, int], workers: int) -> None:
        """Count nothing yet."""
        unknown = sorted(limits.keys() - DEFAULT_LIMITS.keys())
        if unknown or any(limit < 1 for limit in limits.values()):
            raise ValueError(
                "BOXOFFICE_API_RATE_LIMITS: classes are "
                f"{', '.join(DEFAULT_LIMITS)}, limits are 1 or more"
            )
        self._link = link
        self._limits = {**DEFAULT_LIMITS, **limits}
        self._workers = workers
        self._local = LocalWindows()

    async def admit(
        self,
        principal: Principal,
        route_class: str,
        cache_key: str | None = None,
        held: bytes = b"",
    ) -> Admission:
        """Count a request and fetch a cached answer, in one round trip.

        Args:
            held: ETag of the answer that need not be sent again, if it is still the one.
        """
        limit = self._limits[route_class]
        # An account may have several organizers; an organizer's limit is its own.
        key = f"boxoffice:rate:{route_class}:{principal.scope}:{principal.fingerprint}"
        keys = (key,) if cache_key is None else (key, cache_key, CLEARED)
        arguments = (len(keys), *keys, limit, WINDOW_SECONDS, held)
        try:
            answer = await self._evaluate(arguments)
        except NoAnswerError:
            return self._local.admit(key, max(1, limit // self._workers))
        admitted, remaining, reset, stored, left, cleared = answer
        return Admission(admitted == 1, limit, remaining, reset, stored, left / 1000, cleared)

    async def _evaluate(self, arguments: tuple[Any, ...]) -> Any:
        try:
            return await self._link.call("EVALSHA", _SHA, *arguments)
        except NoScriptError:  # Redis was restarted, or is asked for the first time
            return await self._link.call("EVAL", ADMIT, *arguments)
