"""For tests of endpoints: one application for a module, and examples beside real answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from fastapi import APIRouter, FastAPI

from api.app import ROUTERS, create_app
from pipelines.settings import Settings
from tests.api_client import Client, running

T = TypeVar("T")


class Api:
    """An application that runs in a thread of this process: making one takes half a second."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self.client = client
        self._loop = loop

    def run(self, test: Callable[[Client], Awaitable[T]]) -> T:
        """Run a coroutine in the application's event loop."""

        async def call() -> T:
            return await test(self.client)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(60)

    def call(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """Make one call; as an admin, unless headers say otherwise."""
        given = self.client.as_() if headers is None else headers
        return self.run(lambda client: client.request(method, path, headers=given, **options))


@contextmanager
def serving(settings: Settings, *routers: APIRouter) -> Iterator[Api]:
    """The application with some routers, until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def wait(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    # Tests make more calls in a minute than one admin may.
    limits = dict.fromkeys(("read", "heavy", "export", "sql"), 10_000)
    free = settings.model_copy(update={"api_rate_limits": settings.api_rate_limits or limits})
    context = running(free, app_with(free, *routers))
    try:
        client = wait(context.__aenter__())
        try:
            yield Api(client, loop)
        finally:
            wait(context.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def app_with(settings: Settings, *routers: APIRouter) -> FastAPI:
    """The application with some routers, whether or not it has them already."""
    more = [router for router in routers if all(router is not known for known in ROUTERS)]
    return create_app(settings, (*ROUTERS, *more))


def example_of(document: dict[str, Any], method: str, path: str, status: int = 200) -> Any:
    """The example of an operation's answer."""
    answers = document["paths"][path][method]["responses"]
    return answers[str(status)]["content"]["application/json"]["example"]


def differences(example: Any, answer: Any, at: str = "", free: Sequence[str] = ()) -> list[str]:
    """Where an answer has other members, or other kinds of value, than its example.

    A null on either side stands for any value; of lists the first elements are compared.

    Args:
        free: names of members whose own members depend on what was asked for.
    """
    if example is None or answer is None or at.rsplit(".", 1)[-1] in free:
        return []
    if isinstance(example, dict) and isinstance(answer, dict):
        # FastAPI leaves nulls out of the examples it publishes.
        alone = [n for n in sorted(example.keys() ^ answer.keys()) if answer.get(n, 0) is not None]
        found = [f"{at}.{name} is in one only" for name in alone]
        for name in sorted(example.keys() & answer.keys()):
            found += differences(example[name], answer[name], f"{at}.{name}", free)
        return found
    if isinstance(example, list) and isinstance(answer, list):
        return differences(example[0], answer[0], f"{at}[0]", free) if example and answer else []
    numbers = (int, float)
    if isinstance(example, numbers) and isinstance(answer, numbers):
        return [] if isinstance(example, bool) == isinstance(answer, bool) else [f"{at} differs"]
    return [] if type(example) is type(answer) else [f"{at}: {type(example)}, {type(answer)}"]
