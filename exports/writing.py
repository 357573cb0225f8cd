"""Writing an export: rows that are open become one file, in whatever format and packaging.

Belongs here: the one function that writes, and the check that the file has what was counted. Does
not belong here: reading rows (``exports.reading``), formats (``exports.formats``), the archive of
files per event (``exports.bulk``), uploads or jobs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import polars as pl

from exports.bulk import EventArchive, split
from exports.columns import Description
from exports.formats.registry import FORMATS
from exports.formats.writing import Result
from exports.options import CsvFileOptions, Options
from exports.reading import ControlTotals, ExportRows, IncompleteReadError
from exports.spill import SpillFactory

Progress = Callable[[int], None]
"""Told how many rows have been read for writing so far, after each batch."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file inside an archive.

    Attributes:
        name: inside the archive.
        event_id: whose rows it has.
        result: of the file itself, before it was packed.
    """

    name: str
    event_id: int
    result: Result


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written.

    Attributes:
        result: of the file people download; of an archive, with the totals of all its entries
            and their number as ``parts``.
        entries: the files inside an archive, in their order; none where it is no archive.
    """

    result: Result
    entries: tuple[Entry, ...] = ()


def extension(format_name: str, options: Options) -> str:
    """Of the file's name, without the dot."""
    return "zip" if options.by_event else FORMATS[format_name].extension


def content_type(format_name: str, options: Options) -> str:
    """The file's media type."""
    return "application/zip" if options.by_event else FORMATS[format_name].content_type


def write_export(
    rows: ExportRows,
    format_name: str,
    options: Options,
    target: BinaryIO,
    spill: SpillFactory,
    progress: Progress,
) -> Written:
    """Write an export front to back, and check it against what was counted beforehand.

    Args:
        rows: opened with ``by_event=options.by_event``.
        options: of this format, from ``exports.options.parse_options``.
        target: is only written, from front to back; may be an upload.
        spill: used for formats that must seek, and for what they keep aside meanwhile.

    Raises:
        ExportContentError: rows that the format cannot hold.
        IncompleteReadError: the file does not have what was counted; it must not be used.
    """
    batches = _watched(rows.batches, progress)
    if options.by_event:
        return _write_by_event(batches, rows, format_name, options, target, spill)
    result = write_file(batches, rows.description, format_name, options, target, spill)
    check(result, rows.totals, rows.description.title)
    return Written(result=result)


def _write_by_event(
    batches: Iterable[pl.DataFrame],
    rows: ExportRows,
    format_name: str,
    options: Options,
    target: BinaryIO,
    spill: SpillFactory,
) -> Written:
    if rows.by_event is None:
        raise ValueError("rows were not opened by event")
    entries = []
    with EventArchive(target, format_name) as archive:
        for event in split(batches, rows.by_event.items(), rows.description):
            name = f"{rows.dataset}-event-{event.event_id}.{FORMATS[format_name].extension}"
            with archive.entry(name, event.totals.rows) as entry:
                result = write_file(
                    event.batches,
                    event.description,
                    format_name,
                    options,
                    cast("BinaryIO", entry),
                    spill,
                )
            check(result, event.totals, name)
            entries.append(Entry(name=name, event_id=event.event_id, result=result))
    result = archive.result([entry.result for entry in entries])
    check(result, rows.totals, rows.description.title)
    return Written(result=result, entries=tuple(entries))


def write_file(
    batches: Iterable[pl.DataFrame],
    description: Description,
    format_name: str,
    options: Options,
    target: BinaryIO,
    spill: SpillFactory,
) -> Result:
    """Write rows as one file of a format."""
    kind = FORMATS[format_name]
    if isinstance(options, CsvFileOptions):
        return kind.write(batches, description, target, options.writer)
    if not kind.seeks:
        return kind.write(batches, description, target)
    with spill() as file:
        result = kind.write(batches, description, file, spill)
        file.seek(0)
        shutil.copyfileobj(file, target, 2**20)
    return result


def check(result: Result, totals: ControlTotals, what: str) -> None:
    """Refuse a file whose rows and sums are not those that were counted independently.

    Raises:
        IncompleteReadError: with both.
    """
    written = ControlTotals(rows=result.rows, money=result.money, counts=result.counts)
    if written != totals:
        raise IncompleteReadError(
            f"{what}: {totals} was counted, {written} was written; the file must not be used"
        )


def _watched(batches: Iterable[pl.DataFrame], progress: Progress) -> Iterator[pl.DataFrame]:
    rows = 0
    for frame in batches:
        yield frame
        rows += frame.height
        progress(rows)
