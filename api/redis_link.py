"""The line to Redis: batched, bounded in time, and cut for a while when it does not answer.

Belongs here: sending commands within a budget. Does not belong here: what they mean
(``api.rate_limits``, ``api.cache``). Nothing in Redis is needed to answer rightly: whoever calls
here has another way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

_LOG = logging.getLogger("boxoffice.api")
BUDGET_SECONDS = 0.04
"""Time one call may take; an answer waits for one. With what an event loop may lag, it is 50 ms."""
_LAG_SECONDS = 0.005
_SOCKET_SECONDS = 0.25
_FAILURES = 3
_REST_SECONDS = 1.0
_IN_FLIGHT = 2

Command = tuple[Any, ...]


class NoAnswerError(RuntimeError):
    """Redis is away, slow, full or confused; do without it."""


class RedisLink:
    """Sends commands; those of one turn of the event loop go together.

    In a batch a call costs about a third of what it costs alone; while one batch is under way the
    next one grows.
    """

    def __init__(self, url: str) -> None:
        """Connect to nothing yet."""
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=_SOCKET_SECONDS,
            socket_connect_timeout=_SOCKET_SECONDS,
            retry=Retry(NoBackoff(), 0),
            max_connections=_IN_FLIGHT + 2,
            protocol=2,
            socket_read_size=1 << 18,
        )
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        self._in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._failed_at = 0.0
        self._resting_until = 0.0

    @property
    def is_resting(self) -> bool:
        """Whether it failed so often that it is not asked now."""
        return time.monotonic() < self._resting_until

    async def close(self) -> None:
        """End what is under way and disconnect."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def call(self, *command: Any) -> Any:
        """The answer to one command.

        Raises:
            NoAnswerError: there is none within ``BUDGET_SECONDS``, or it is an error.
        """
        if self.is_resting:
            raise NoAnswerError("resting")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((command, future))
        if len(self._waiting) == 1:
            loop.call_soon(self._send)
        began = loop.time()
        timer = loop.call_at(began + BUDGET_SECONDS, _expire, future, began + BUDGET_SECONDS)
        try:
            answer = await future
        except NoScriptError:
            raise
        except ResponseError as error:  # it answers, but with garbage in its memory, or none left
            raise NoAnswerError(type(error).__name__) from None
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error, began)
            raise NoAnswerError(type(error).__name__) from None
        finally:
            timer.cancel()
        self._failures = 0
        return answer

    def _failed(self, error: Exception, began: float) -> None:
        if began < self._failed_at:
            return  # it failed together with one that was counted
        self._failed_at = asyncio.get_running_loop().time()
        self._failures += 1
        if self._failures >= _FAILURES and not self.is_resting:
            self._resting_until = time.monotonic() + _REST_SECONDS
            self._failures = _FAILURES - 1  # one more failure after the rest is enough
            _LOG.warning("Redis is not asked for %s s: %s", _REST_SECONDS, type(error).__name__)

    def _send(self) -> None:
        if self._waiting and self._in_flight < _IN_FLIGHT:
            batch, self._waiting = self._waiting, []
            self._in_flight += 1
            task = asyncio.create_task(self._execute(batch))
            self._tasks.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._in_flight -= 1
        self._send()

    async def _execute(self, batch: list[tuple[Command, asyncio.Future[Any]]]) -> None:
        try:
            pipeline = self._client.pipeline(transaction=False)
            for command, _ in batch:
                pipeline.execute_command(*command)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            answers = [error] * len(batch)
        except asyncio.CancelledError:
            answers = [TimeoutError()] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def _expire(future: asyncio.Future[Any], deadline: float) -> None:
    """Give a call up; where it is this process that is late, its answer may be there already."""
    if future.done():
        return
    loop = future.get_loop()
    if loop.time() - deadline > _LAG_SECONDS:
        loop.call_later(_LAG_SECONDS, _give_up, future)
    else:
        _give_up(future)


def _give_up(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
