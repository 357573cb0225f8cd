"""What readers are given now: the version and the partitions of every finished table.

Belongs here: following publications as they are committed, and remembering what a version consists
of. Does not belong here: the rows themselves (``api.database``), or how an answer tells of it
(``api.answers``).

Every commit that changes what readers see of a table draws a new version for it and notifies
(migration 0006). A worker learns of it within milliseconds; should a notification be lost, within
``POLL_SECONDS``. A worker that has not been able to ask for ``TRUSTED_SECONDS`` knows no version at
all, and then nothing is taken from the cache. So "at once" means: an answer that was superseded is
no longer served once the notification has arrived, and never later than ``TRUSTED_SECONDS`` after
the commit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any

import psycopg

from api.statements import statement
from metrics.datasets import DAILY_METRICS, DATASETS, EVENT_SUMMARY, Period
from warehouse.statements import statement as warehouse_statement

_LOG = logging.getLogger("boxoffice.api")
CHANNEL = "boxoffice_published"
POLL_SECONDS = 1.0
TRUSTED_SECONDS = 2.5
_RETRY_SECONDS = 0.5
_STEPS: Mapping[Period, str] = {"day": "1 day", "week": "7 days", "month": "1 month"}

Query = tuple[bytes, Mapping[str, Any] | None]
Versions = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Partition:
    """One published partition."""

    is_complete: bool
    is_final: bool
    published_at: datetime


@dataclass(frozen=True)
class Shelf:
    """What readers are given of one finished table, in one version.

    Attributes:
        partitions: by key, in order.
        complete_through: last day that, like every day before it, is complete; or None.
        published_at: when readers last got something new; None: nothing was ever published.
        held_back: keys of partitions whose last audit failed; the version before is served.
    """

    version: str | None
    partitions: Mapping[str, Partition]
    complete_through: date | None
    published_at: datetime | None
    held_back: frozenset[str]

    @cached_property
    def frames(self) -> dict[str, Any]:
        """How its partitions are shown, as far as they were (``api.written``)."""
        return {}


def combined(versions: Versions, datasets: Iterable[str]) -> str:
    """One value that stands for the versions of several tables."""
    names = sorted(datasets)
    text = " ".join(f"{name}={versions.get(name, '')}" for name in names)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def shelf_queries(datasets: Sequence[str]) -> list[Query]:
    """What ``shelves`` needs to know, to be run in one snapshot."""
    stepped = [dataset for dataset in DATASETS.values() if dataset.period in _STEPS]
    daily = {"daily": DAILY_METRICS.name}
    return [
        (statement("partitions"), {"datasets": list(datasets)}),
        (statement("held_back_partitions"), None),
        (
            warehouse_statement("dataset_freshness"),
            daily
            | {
                "datasets": [dataset.name for dataset in stepped],
                "steps": [_STEPS[dataset.period] for dataset in stepped],
            },
        ),
        (warehouse_statement("summary_freshness"), daily | {"dataset": EVENT_SUMMARY.name}),
    ]


def shelves(
    datasets: Sequence[str], versions: Versions, results: Sequence[Sequence[Mapping[str, Any]]]
) -> dict[str, Shelf]:
    """The shelves of some tables, from what their queries returned."""
    partitions, held, freshness, summary = results
    fresh = {row["dataset"]: row for row in (*freshness, *summary)}
    found: dict[str, Shelf] = {}
    for name in datasets:
        layers = {name, "movements"} if DATASETS[name].period == "day" else {name}
        row: Mapping[str, Any] = fresh.get(name, {})
        found[name] = Shelf(
            versions.get(name),
            {
                part["partition_key"]: Partition(
                    part["is_complete"], part["is_final"], part["published_at"]
                )
                for part in partitions
                if part["dataset"] == name
            },
            row.get("complete_through"),
            row.get("published_at"),
            frozenset(part["partition_key"] for part in held if part["dataset"] in layers),
        )
    return found


class Publications:
    """Follows what is published, in the background.

    Args:
        connect: opens a connection of its own, with ``row_factory=dict_row`` and autocommit.
        on_return: called when the database answers again after it had been away.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[psycopg.AsyncConnection[dict[str, Any]]]],
        on_return: Callable[[], Awaitable[None]],
    ) -> None:
        """Know nothing yet."""
        self._connect = connect
        self._on_return = on_return
        self._versions: dict[str, str] = {}
        self._combined: dict[tuple[str, ...], str] = {}
        self._asked_at = float("-inf")
        self._away = False
        self._shelves: dict[str, Shelf] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def is_away(self) -> bool:
        """Whether the database did not answer when it was last asked."""
        return self._away

    async def start(self) -> None:
        """Begin to follow; returns after the first attempt, whether or not it succeeded."""
        first = asyncio.Event()
        self._task = asyncio.create_task(self._follow(first), name="publications")
        await first.wait()

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def version(self, datasets: tuple[str, ...]) -> str | None:
        """The version of some tables; None where it is not known well enough to serve from it."""
        if time.monotonic() - self._asked_at > TRUSTED_SECONDS:
            return None
        found = self._combined.get(datasets)
        if found is None:
            found = self._combined[datasets] = combined(self._versions, datasets)
        return found

    def shelf(self, dataset: str, versions: Versions) -> Shelf | None:
        """What a version consists of, if it is remembered."""
        found = self._shelves.get(dataset)
        return found if found is not None and found.version == versions.get(dataset) else None

    def has_shelves(self, datasets: Iterable[str]) -> bool:
        """Whether what is published now is remembered of all of these tables."""
        return all(self.shelf(dataset, self._versions) is not None for dataset in datasets)

    def remember(self, found: Mapping[str, Shelf]) -> None:
        """Keep shelves for later readers."""
        self._shelves |= found

    async def _follow(self, first: asyncio.Event) -> None:
        while True:
            try:
                await self._listen(first)
            except (psycopg.Error, OSError, TimeoutError) as error:
                if not self._away:
                    _LOG.error("the database does not answer: %s", error)
                self._away = True
                self._asked_at = float("-inf")
            first.set()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self, first: asyncio.Event) -> None:
        async with asyncio.timeout(TRUSTED_SECONDS):
            connection = await self._connect()
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            await self._ask(connection)
            if self._away:
                _LOG.warning("the database answers again")
                await self._on_return()
            self._away = False
            first.set()
            while True:
                async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                    pass
                await self._ask(connection)

    async def _ask(self, connection: psycopg.AsyncConnection[dict[str, Any]]) -> None:
        # What is committed before this instant is in the answer.
        asked_at = time.monotonic()
        async with asyncio.timeout(TRUSTED_SECONDS):
            cursor = await connection.execute(statement("versions"))
            versions = {row["dataset"]: row["version"] for row in await cursor.fetchall()}
        if versions != self._versions:
            self._versions, self._combined = versions, {}
        self._asked_at = asked_at
