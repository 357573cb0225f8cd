"""A file for each event, all in one ZIP archive that is written front to back.

Belongs here: cutting rows by event, and the archive. Does not belong here: a single file
(``exports.writing``), reading rows (``exports.reading``).

Every entry is deflated, those of formats that are packed already with level 0, because readers
that stream cannot tell where a stored entry ends. Sizes stand behind the entries, as the target
cannot be sought; dates are fixed. An event's file is complete by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import groupby
from operator import itemgetter
from typing import IO, BinaryIO, cast
from zipfile import ZIP_DEFLATED, ZipFile

import polars as pl

from exports.columns import Description
from exports.datasets import EVENT
from exports.formats.writing import Output, Result, TextCounts
from exports.reading import ControlTotals, IncompleteReadError, added

_LEVELS = {"csv": 1, "json": 1, "ndjson": 1}
_MANY_ROWS = 20_000
"""From here on an entry has 64-bit sizes: fewer rows can pass 2 GiB only with 100 KB a row."""


@dataclass(frozen=True, kw_only=True)
class EventRows:
    """The rows of one event, to become one file.

    Attributes:
        totals: counted beforehand.
        batches: once, and before those of the next event.
    """

    event_id: int
    description: Description
    totals: ControlTotals
    batches: Iterable[pl.DataFrame]


def split(
    batches: Iterable[pl.DataFrame],
    by_event: Iterable[tuple[int, ControlTotals]],
    description: Description,
) -> Iterator[EventRows]:
    """Cut rows that are sorted by event into those of each event, in one pass.

    Raises:
        IncompleteReadError: rows of an event come that were not counted, or not in its place.
    """
    found = groupby(_pieces(batches), key=itemgetter(0))
    for event_id, totals in by_event:
        pieces: Iterable[tuple[int, pl.DataFrame]] = ()
        if totals.rows:
            there, pieces = next(found, (None, ()))
            if there != event_id:
                raise IncompleteReadError(f"rows of event {event_id} were due, {there} came")
        yield EventRows(
            event_id=event_id,
            description=_of_event(description, event_id),
            totals=totals,
            batches=(frame for _, frame in pieces),
        )
    for there, _ in found:
        raise IncompleteReadError(f"rows of event {there} came, which were not counted")


def _pieces(batches: Iterable[pl.DataFrame]) -> Iterator[tuple[int, pl.DataFrame]]:
    for batch in batches:
        for piece in batch.partition_by(EVENT, maintain_order=True):
            yield piece.item(0, EVENT), piece


def _of_event(description: Description, event_id: int) -> Description:
    others = (found for found in description.filters if found[0] != "Events")
    return replace(description, filters=(("Event", str(event_id)), *others))


class EventArchive:
    """The archive, in a file object that need not be seekable and belongs to the caller."""

    def __init__(self, target: BinaryIO, format_name: str) -> None:
        """Begin an archive of files of a format."""
        self._output = Output(target)
        file, level = cast("IO[bytes]", self._output), _LEVELS.get(format_name, 0)
        self._archive = ZipFile(file, "w", ZIP_DEFLATED, compresslevel=level)

    def __enter__(self) -> EventArchive:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the directory, which makes the archive complete; after an error do not."""
        if kind is not None:
            self._archive.fp = None
        self._archive.close()

    def entry(self, name: str, rows: int) -> IO[bytes]:
        """Open an entry for writing, one at a time; closing it completes it.

        Args:
            rows: that it will have.
        """
        return self._archive.open(name, "w", force_zip64=rows >= _MANY_ROWS)

    def result(self, results: list[Result]) -> Result:
        """Of the finished archive, with the totals of all its files."""
        totals = added(
            ControlTotals(rows=found.rows, money=found.money, counts=found.counts)
            for found in results
        )
        texts = TextCounts(
            **{f.name: sum(getattr(r.texts, f.name) for r in results) for f in fields(TextCounts)}
        )
        return Result(
            rows=totals.rows,
            bytes=self._output.length,
            sha256=self._output.sha256.hexdigest(),
            money=totals.money,
            counts=totals.counts,
            texts=texts,
            parts=len(results),
        )
