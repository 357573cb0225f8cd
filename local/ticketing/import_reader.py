"""Reading CSV files: records with their line numbers, and rows converted cell by cell.

Belongs here: streaming a file in bounded memory and turning each record into typed values or
problems. Does not belong here: the formats (``import_files``), single cells (``import_cells``), or
rules across rows (``sql/import``).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

from local.ticketing import import_cells as cells
from local.ticketing.import_cells import CellError, UnknownContextError
from local.ticketing.import_files import EVENTS, Bound, FileFormat, HeaderError, bind

_SHOWN = 200
# What tells a row's zone and currency; without it, cells that need them are not to blame.
_CONTEXT = {"organizer", "event", "time_zone", "currency"}
_Reader = Callable[[list[str]], object]


@dataclass(frozen=True)
class Problem:
    """Why a row is refused.

    Attributes:
        line: physical line on which the row begins; the header is on line 1.
        column: name in the file; empty when it is about the whole row.
        value: what the cell holds, with unprintable bytes escaped.
        reason: what is wrong and what to do; the same text for every row with this problem.
        detail: what is particular to this row.
        key: the row's key, if it could be read.
        order_id: the order the row belongs to, if it could be read.
    """

    line: int
    column: str
    value: str
    reason: str
    detail: str | None = None
    key: int | None = None
    order_id: int | None = None


@dataclass(frozen=True)
class Parent:
    """What rows take from their event or organizer when they do not say it themselves."""

    time_zone: ZoneInfo | None
    currency: str | None


@dataclass
class Parents:
    """Accepted organizers or events by key, and the lines of refused ones."""

    file: str
    known: dict[int, Parent] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)

    def find(self, key: int) -> Parent:
        """The parent with a key, or why there is none."""
        parent = self.known.get(key)
        if parent is None:
            if key in self.refused:
                raise CellError(
                    f"belongs to a refused row of {self.file}; correct that one",
                    f"line {self.refused[key]}",
                )
            raise CellError(f"is not in {self.file}; add it there or correct it")
        return parent


class CsvFile:
    """A CSV file with a header: comma-separated, UTF-8, quotes as in RFC 4180.

    A byte order mark, CRLF line ends and line ends within quotes are understood.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            HeaderError: the file is empty or its first line cannot be read.
        """
        self.path = path
        self.size = path.stat().st_size
        self.blank_lines = 0
        self._handle: TextIO | None = None
        with self._open() as handle:
            try:
                self.header: list[str] = next(csv.reader(handle, strict=True), [])
            except csv.Error as error:
                raise HeaderError(f"{path.name}: the header cannot be read: {error}") from None
        if not self.header:
            raise HeaderError(f"{path.name} is empty; its first line must name the columns")

    def records(self) -> Iterator[tuple[int, list[str] | Problem]]:
        """Line and cells, or why they cannot be told apart, row by row."""
        width = len(self.header)
        with self._open() as handle:
            self._handle = handle
            reader = csv.reader(handle, strict=True)
            next(reader)
            while True:
                line = reader.line_num + 1
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    detail = f"{error}, lines {line} to {reader.line_num}"
                    reason = "cannot be read as CSV; check its quotes"
                    yield line, Problem(line, "", "", reason, detail)
                    continue
                if len(row) == width:
                    yield line, row
                elif not row:
                    self.blank_lines += 1
                else:
                    reason = "has another number of columns than the header; check its commas"
                    detail = f"{len(row)} instead of {width}"
                    yield line, Problem(line, "", _shown(",".join(row)), reason, detail)

    @property
    def share_read(self) -> float:
        """How much of the file :meth:`records` has read, 0 to 1."""
        if self._handle is None or self._handle.closed:
            return 1.0
        return self._handle.buffer.tell() / max(self.size, 1)

    def _open(self) -> TextIO:
        return self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


class RowReader:
    """Converts the rows of one file.

    Attributes:
        staged: names of the values that :meth:`convert` returns.
        header_names: how the file calls the staged columns it has.
        ignored: columns of the file that are not used.
    """

    def __init__(
        self,
        file_format: FileFormat,
        header: Sequence[str],
        parents: Parents | None,
        time_zone: ZoneInfo | None,
    ) -> None:
        """Match the header with the format.

        Args:
            parents: what ``organizer`` or ``event`` columns refer to.
            time_zone: of local times whose row and parent name no zone.

        Raises:
            HeaderError: a column is missing, or two say the same thing.
        """
        bounds, self.ignored = bind(file_format, header)
        self._format = file_format
        self._header = header
        self._parents = parents
        self._fallback = time_zone
        self._parent: Parent | None = None
        self._zone: ZoneInfo | None = None
        self._currency: str | None = None
        # A column the file lacks is left to the staging table, unless its parent may tell it.
        present = [
            bound
            for bound in bounds
            if bound.index is not None
            or bound.local_index is not None
            or bound.column.kind in {"currency", "time_zone"}
        ]
        self.header_names = {
            bound.column.staged: self._header[index]
            for bound in present
            if (index := bound.local_index if bound.index is None else bound.index) is not None
        }
        self.staged = [bound.column.staged for bound in present if bound.column.is_staged]
        self._readers = [(bound, self._reader(bound), bound.column.is_staged) for bound in present]

    def convert(self, line: int, row: list[str]) -> tuple[list[object], list[Problem]]:
        """Typed values of a row in the order of ``staged``, or every problem it has."""
        self._parent, self._zone, self._currency = None, self._fallback, None
        values: list[object] = []
        failed: list[tuple[Bound, CellError]] = []
        for bound, read, is_staged in self._readers:
            try:
                value = read(row)
            except CellError as error:
                failed.append((bound, error))
                value = None
            if is_staged:
                values.append(value)
        if not failed:
            return values, []
        if any(bound.column.kind in _CONTEXT for bound, _ in failed):
            failed = [f for f in failed if not isinstance(f[1], UnknownContextError)]
        return values, [self._problem(line, row, values, *failure) for failure in failed]

    def _problem(
        self, line: int, row: list[str], values: list[object], bound: Bound, error: CellError
    ) -> Problem:
        read = dict(zip(self.staged, values, strict=True))
        key, order_id = read.get(self._format.key), read.get("order_id")
        index = self._culprit(bound, row)
        return Problem(
            line,
            bound.column.staged if index is None else self._header[index],
            "" if index is None else _shown(row[index]),
            error.reason,
            error.detail,
            key if isinstance(key, int) else None,
            order_id if isinstance(order_id, int) else None,
        )

    @staticmethod
    def _culprit(bound: Bound, row: list[str]) -> int | None:
        """The cell to name: the plain one, or the local one if only that is filled."""
        if bound.index is not None and (row[bound.index] or bound.local_index is None):
            return bound.index
        return bound.local_index

    def _reader(self, bound: Bound) -> _Reader:
        column, index = bound.column, bound.index
        match column.kind:
            case "instant":
                read: _Reader = self._instant(bound)
            case "currency":
                return self._optional(index, self._read_currency, self._default_currency)
            case "time_zone":
                return self._optional(index, self._read_zone, self._default_zone)
            case "money":
                convert = cells.minor if bound.has_suffix else self._read_major
                read = self._optional(index, convert)
            case "organizer" | "event":
                read = self._optional(index, self._read_parent)
            case "choice":
                choices = column.choices
                read = self._optional(index, lambda value: cells.choice(value, choices))
            case "whole":
                read = self._optional(index, cells.whole)
            case "flag":
                read = self._optional(index, cells.flag)
            case "text":
                read = self._optional(index, cells.text)
        if not column.required:
            return read

        def required(row: list[str]) -> object:
            value = read(row)
            if value is None:
                raise CellError("is empty; every row needs it")
            return value

        return required

    @staticmethod
    def _optional(
        index: int | None,
        convert: Callable[[str], object],
        default: Callable[[], object] = lambda: None,
    ) -> _Reader:
        """Reads the cell, or takes the default where it is empty or the file lacks it."""
        if index is None:
            return lambda _row: default()

        def read(row: list[str]) -> object:
            value = row[index]
            if not value:
                return default()
            try:
                return convert(value)
            except CellError:
                cells.text(value)  # bytes that are no text are the better reason
                raise

        return read

    def _instant(self, bound: Bound) -> _Reader:
        is_utc, local_index = bound.has_suffix, bound.local_index
        read = self._optional(bound.index, lambda value: cells.instant(value, is_utc=is_utc))
        if local_index is None:
            return read
        read_local = self._optional(
            local_index, lambda value: cells.local_instant(value, self._zone)
        )

        def both(row: list[str]) -> object:
            moment = read(row)
            if not isinstance(moment, datetime):
                return read_local(row)
            if row[local_index]:
                cells.agree(moment, row[local_index], self._zone)
            return moment

        return both

    def _read_parent(self, value: str) -> int:
        key = cells.whole(value)
        if self._parents is None:
            raise TypeError(f"{self._format.name} has a parent column but no parents")
        self._parent = self._parents.find(key)
        self._zone = self._parent.time_zone or self._fallback
        self._currency = self._parent.currency
        return key

    def _read_zone(self, value: str) -> str:
        self._zone = cells.time_zone(value)
        return value

    def _default_zone(self) -> str | None:
        if self._zone is None and self._format is EVENTS and self._parent is not None:
            raise CellError("is unknown; add a time_zone column or give --time-zone")
        return self._zone.key if self._zone else None

    def _read_currency(self, value: str) -> str:
        stated = cells.currency(value)
        if self._format is not EVENTS and self._currency not in {None, stated}:
            raise CellError("is not the currency of its event", f"which is {self._currency}")
        self._currency = stated
        return stated

    def _default_currency(self) -> str | None:
        if self._currency is None and self._format is EVENTS and self._parent is not None:
            raise CellError("is unknown; add a currency column")
        return self._currency

    def _read_major(self, value: str) -> int:
        return cells.major(value, self._currency)


def _shown(value: str) -> str:
    printable = value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    if len(printable) <= _SHOWN:
        return printable
    return f"{printable[:_SHOWN]}... ({len(value)} characters)"
