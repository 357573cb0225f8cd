"""The line to Redis: batched, bounded in time, and cut for a while when it does not answer.

Belongs here: sending commands within a budget. Does not belong here: what they mean
(``api.rate_limits``, ``api.cache``). Nothing in Redis is needed to answer rightly: whoever calls
here has another way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Any, NamedTuple

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

_LOG = logging.getLogger("boxoffice.api")
BUDGET_SECONDS = 0.04
"""Time one call may take; an answer waits for one. With what an event loop may lag, it is 50 ms."""
_TICKS = 5
_DEAD_TICKS = 30
_CONNECT_SECONDS = 0.25
_FAILURES = 3
_REST_SECONDS = 1.0
_IN_FLIGHT = 2

Command = tuple[Any, ...]


class NoAnswerError(RuntimeError):
    """Redis is away, slow, full or confused; do without it."""


class _Call(NamedTuple):
    """A command whose answer is awaited until a tick."""

    command: Command
    future: asyncio.Future[Any]
    until: int


class RedisLink:
    """Sends commands; those of one turn of the event loop go together.

    In a batch a call costs about a third of what it costs alone; while one batch is under way the
    next one grows.

    Time is counted in ticks of a fifth of the budget, of which each turn of the event loop makes
    one at most: between any two of them what has arrived is read. So an event loop that is late is
    not taken for a Redis that is.
    """

    def __init__(self, url: str) -> None:
        """Connect to nothing yet."""
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=None,  # it would be the clock's; a batch is ended by ticks
            socket_connect_timeout=_CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            max_connections=_IN_FLIGHT + 2,
            protocol=2,
            socket_read_size=1 << 18,
        )
        self._waiting: list[_Call] = []
        self._calls: deque[_Call] = deque()
        self._batches: dict[asyncio.Task[None], int] = {}
        self._ticks = 0
        self._ticker: asyncio.TimerHandle | None = None
        self._failures = 0
        self._failed_at = 0.0
        self._resting_until = 0.0

    @property
    def is_resting(self) -> bool:
        """Whether it failed so often that it is not asked now."""
        return time.monotonic() < self._resting_until

    async def close(self) -> None:
        """End what is under way and disconnect."""
        for task in tuple(self._batches):
            task.cancel()
        await asyncio.gather(*self._batches, return_exceptions=True)
        if self._ticker is not None:
            self._ticker.cancel()
        await self._client.aclose()

    async def call(self, *command: Any) -> Any:
        """The answer to one command.

        Raises:
            NoAnswerError: there is none within ``BUDGET_SECONDS``, or it is an error.
        """
        if self.is_resting:
            raise NoAnswerError("resting")
        loop = asyncio.get_running_loop()
        began = loop.time()
        call = _Call(command, loop.create_future(), self._ticks + _TICKS)
        self._calls.append(call)
        self._waiting.append(call)
        if len(self._waiting) == 1:
            loop.call_soon(self._send)
        if self._ticker is None:
            self._ticker = loop.call_later(BUDGET_SECONDS / _TICKS, self._tick)
        try:
            answer = await call.future
        except NoScriptError:
            raise
        except ResponseError as error:  # it answers, but with garbage in its memory, or none left
            raise NoAnswerError(type(error).__name__) from None
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error, began)
            raise NoAnswerError(type(error).__name__) from None
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

    def _tick(self) -> None:
        """Give up what was asked too many ticks ago; count on while anything is under way."""
        self._ticks += 1
        calls = self._calls
        while calls and (calls[0].future.done() or calls[0].until <= self._ticks):
            _settle(calls.popleft().future, TimeoutError())
        for task, since in self._batches.items():
            if self._ticks - since == _DEAD_TICKS:
                task.cancel()
        self._ticker = None
        if calls or self._batches:
            loop = asyncio.get_running_loop()
            self._ticker = loop.call_later(BUDGET_SECONDS / _TICKS, self._tick)

    def _send(self) -> None:
        if self._waiting and len(self._batches) < _IN_FLIGHT:
            # What was given up meanwhile is not sent any more.
            batch = [call for call in self._waiting if not call.future.done()]
            self._waiting = []
            if batch:
                task = asyncio.create_task(self._execute(batch))
                self._batches[task] = self._ticks
                task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        del self._batches[task]
        self._send()

    async def _execute(self, batch: list[_Call]) -> None:
        try:
            pipeline = self._client.pipeline(transaction=False)
            for call in batch:
                pipeline.execute_command(*call.command)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            answers = [error] * len(batch)
        except asyncio.CancelledError:
            answers = [TimeoutError()] * len(batch)
        for call, answer in zip(batch, answers, strict=True):
            _settle(call.future, answer)


def _settle(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
