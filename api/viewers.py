"""Accounts that turn out to be viewers: their recurring exports are no longer theirs.

Belongs here: noting it, once in a while for each account, beside the call that showed it. Does not
belong here: what the right to recurring exports is (``warehouse.export_rights``), or other roles,
which the endpoints of exports note themselves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import psycopg

from api.principal import Principal
from exports.masking import Role
from warehouse.export_rights import SEEN_EVERY, note_viewer

_LOG = logging.getLogger("boxoffice.api")
_REMEMBERED = 10_000
_ARGUMENTS: dict[str, Any] = {
    "autocommit": True,
    "application_name": "boxoffice-api-writer",
    "connect_timeout": 2,
    "options": "-c statement_timeout=5s -c lock_timeout=2s",
}


class Viewers:
    """Notes viewers in the background, one at a time.

    Args:
        url: of the warehouse, as the publisher.
    """

    def __init__(self, url: str) -> None:
        """Know none yet."""
        self._url = url
        self._noted: dict[tuple[str, int | None], float] = {}
        self._one = asyncio.Semaphore(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def saw(self, principal: Principal) -> None:
        """Note a caller who is a viewer, unless that was done within the hour; nobody waits."""
        if principal.role is not Role.VIEWER:
            return
        key, now = (principal.account, principal.organizer_id), time.monotonic()
        if now - self._noted.get(key, float("-inf")) < SEEN_EVERY.total_seconds():
            return
        self._noted.pop(key, None)
        while len(self._noted) >= _REMEMBERED:
            del self._noted[next(iter(self._noted))]
        self._noted[key] = now
        task = asyncio.create_task(self._note(principal))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until what is being noted is noted, or is not."""
        await asyncio.gather(*self._tasks)

    async def _note(self, principal: Principal) -> None:
        def call() -> None:
            with psycopg.connect(self._url, **_ARGUMENTS) as connection:
                note_viewer(connection, principal.account, principal.organizer_id)

        async with self._one:
            try:
                await asyncio.to_thread(call)
            except psycopg.Error as error:
                self._noted.pop((principal.account, principal.organizer_id), None)
                _LOG.warning("a viewer could not be noted: %s", type(error).__name__)
