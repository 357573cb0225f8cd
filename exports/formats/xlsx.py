"""XLSX, made a chunk of rows at a time by Polars: text is text, numbers are numbers.

Belongs here: sheets, and how a workbook is put together. Does not belong here: cells
(`xlsx_cells`), the fixed parts (`xlsx_parts`), the container (`archive`).

Every text is an inline string in a cell formatted as text, so nothing in it can become a formula
or a link. What a cell cannot hold is handled, never cut silently: control characters that XML
forbids become U+FFFD (counted); of a text over 32,767 UTF-16 units the cell holds the beginning
and a note, and the sheet "Long texts" all of it (counted); numbers of more than 15 digits and
dates before March 1900, which Excel would alter, are written as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import polars as pl

from exports.columns import Column, Description, Kind
from exports.formats.archive import Archive, Entry
from exports.formats.writing import Behind, Output, Result, Rows, Tally, chunks
from exports.formats.xlsx_cells import CELL_UNITS, Cells, LongTexts, letters, text_cell
from exports.formats.xlsx_parts import (
    HEADER,
    LABEL,
    MAIN,
    TEXT,
    TITLE,
    Sheet,
    Styles,
    write_parts,
)
from exports.spill import SpillFactory
from metrics.money import format_minor

SHEET_ROWS = 1_048_576
_SHEET_BYTES = 3 * 2**30  # an entry of the archive must stay below 4 GiB
_CHUNK_ROWS = 8_192
_CHUNK_BYTES = 8 * 2**20
_WIDTHS = {
    Kind.INTEGER: 12,
    Kind.DECIMAL: 14,
    Kind.MONEY: 16,
    Kind.DATE: 12,
    Kind.INSTANT: 20,
    Kind.BOOLEAN: 9,
}
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def write_xlsx(
    rows: Rows, description: Description, target: BinaryIO, spill: SpillFactory
) -> Result:
    """Write a workbook to an empty file object that can be read, written and sought.

    Sheets: "Data" (then "Data 2" ... past 1,048,576 rows), "Long texts" where there are any, and
    "Summary" with filters, totals per currency and the data version.

    Args:
        spill: gives the temporary file of the long texts, if there are any.

    Raises:
        ExportContentError: the rows do not match the description, or the file passes 4 GiB.
    """
    tally = Tally(description)
    frames = _counted(chunks(rows, description, _CHUNK_ROWS, _CHUNK_BYTES), tally)
    with LongTexts(spill) as long, Behind() as background:
        book = _Workbook(Archive(target), background)
        parts = book.table("Data", Cells(description, book.styles, tally.texts, long), frames)
        if tally.texts.overlong:
            about = replace(description, columns=LongTexts.columns, series=None)
            pieces = chunks(long.frames(), about, _CHUNK_ROWS, _CHUNK_BYTES)
            book.table("Long texts", Cells(about, book.styles, tally.texts, long), pieces)
        book.summary(description, tally, parts)
        write_parts(book.archive, book.sheets, book.styles, description)
        book.archive.close()
    # Headers were patched, so the hash is of what is there now.
    output = Output(target)
    target.seek(0)
    while block := target.read(2**20):
        output.sha256.update(block)
        output.length += len(block)
    return tally.result(output, parts)


def _counted(frames: Iterable[pl.DataFrame], tally: Tally) -> Iterator[pl.DataFrame]:
    for frame in frames:
        tally.add(frame)
        yield frame


@dataclass
class _Workbook:
    """The sheets written so far. A chunk is deflated while the next one is made."""

    archive: Archive
    background: Behind
    styles: Styles = field(default_factory=Styles)
    sheets: list[Sheet] = field(default_factory=list)

    def table(self, name: str, cells: Cells, frames: Iterable[pl.DataFrame]) -> int:
        """Write frames as one sheet, or as several where rows pass a sheet's end."""
        columns = cells.description.columns
        waiting = iter(frames)
        frame: pl.DataFrame | None = next(waiting, None)
        widths = [_width(column, frame) for column in columns]
        count = 0
        while frame is not None or not count:
            count += 1
            title = name if count == 1 else f"{name} {count}"
            with self._sheet() as entry:
                self.background.run(entry.write, _head(columns, widths))
                row = 1
                size = 0
                while frame is not None and row < SHEET_ROWS and size < _SHEET_BYTES:
                    taken = frame.head(SHEET_ROWS - row)
                    data = cells.rows(taken, title, row + 1)
                    self.background.run(entry.write, data)
                    row, size = row + taken.height, size + len(data)
                    rest = frame.slice(taken.height)
                    frame = rest if rest.height else next(waiting, None)
                area = f"A1:{letters(len(columns))}{row}"
                self.background.run(entry.write, _foot(area))
            self.sheets.append(Sheet(title, area))
        return count

    def summary(self, description: Description, tally: Tally, parts: int) -> None:
        """Write what the workbook is, what it adds up to, and what was altered in it."""
        money, texts = description.of_kind(Kind.MONEY), tally.texts
        headers = {column.name: column.header for column in description.columns}
        lines: list[tuple[int, list[str]]] = [
            (TITLE, [description.title]),
            (TEXT, ["Data version", description.data_version]),
            (TEXT, ["Data as of", description.published]),
            (TEXT, ["Time zone of days and times", description.time_zone.key]),
            (TEXT, ["Rows", f"{tally.rows:,}"]),
            (TEXT, ["Sheets with rows", str(parts)]),
        ]
        lines += [(TEXT, [f"Filter: {label}", value]) for label, value in description.filters]
        if money:
            lines += [(TEXT, []), (LABEL, ["Totals per currency", *(c.header for c in money)])]
        for code, sums in sorted(tally.money.items()):
            amounts = [format_minor(sums.get(column.name, 0), code) for column in money]
            lines.append((TEXT, [code, *amounts]))
        lines += [(TEXT, [f"Total: {headers[name]}", f"{n:,}"]) for name, n in tally.counts.items()]
        lines += [
            (TEXT, []),
            (
                TEXT,
                ["Control characters replaced by \N{REPLACEMENT CHARACTER}", str(texts.replaced)],
            ),
            (TEXT, ['Texts continued on the sheet "Long texts"', str(texts.overlong)]),
        ]
        body = "".join(
            f'<row r="{row}">'
            + "".join(
                text_cell(letters(at), row, text, style)
                for at, text in enumerate(_fitting(line), 1)
            )
            + "</row>"
            for row, (style, line) in enumerate(lines, 1)
        )
        columns = '<col min="1" max="1" width="46" customWidth="1"/>'
        columns += '<col min="2" max="40" width="24" customWidth="1"/>'
        with self._sheet() as entry:
            text = f'{_XML}<worksheet xmlns="{MAIN}"><cols>{columns}</cols><sheetData>{body}'
            self.background.run(entry.write, f"{text}</sheetData></worksheet>".encode())
        self.sheets.append(Sheet("Summary"))

    @contextmanager
    def _sheet(self) -> Iterator[Entry]:
        with self.archive.entry(f"xl/worksheets/sheet{len(self.sheets) + 1}.xml") as entry:
            yield entry
            self.background.wait()


def _fitting(texts: list[str]) -> list[str]:
    """The texts, those too long for a cell continued in the next one."""
    size = CELL_UNITS // 2  # a character is at most two units
    return [text[at : at + size] for text in texts for at in range(0, len(text) or 1, size)]


def _width(column: Column, frame: pl.DataFrame | None) -> float:
    """Characters a column shows: what its first rows need, within reason."""
    longest = _WIDTHS.get(column.kind, 0)
    if column.kind is Kind.TEXT and frame is not None:
        sizes = frame.get_column(column.name).str.len_chars()
        longest = int(sizes.quantile(0.99, "nearest") or 0) + 2
    # The button of the autofilter covers the width of three characters.
    return min(max(longest, len(column.header) + 3, 8), 60)


def _head(columns: tuple[Column, ...], widths: list[float]) -> bytes:
    cols = "".join(
        f'<col min="{at}" max="{at}" width="{width}" customWidth="1"/>'
        for at, width in enumerate(widths, 1)
    )
    cells = "".join(
        text_cell(letters(at), 1, column.header, HEADER) for at, column in enumerate(columns, 1)
    )
    return (
        f'{_XML}<worksheet xmlns="{MAIN}"><sheetViews><sheetView workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
        f"</sheetView></sheetViews><cols>{cols}</cols><sheetData>"
        f'<row r="1" ht="20" customHeight="1">{cells}</row>'
    ).encode()


def _foot(area: str) -> bytes:
    return (
        f'</sheetData><autoFilter ref="{area}"/>'
        '<pageMargins left="0.5" right="0.5" top="0.75" bottom="0.75" header="0.3" footer="0.3"/>'
        f'<ignoredErrors><ignoredError sqref="{area}" numberStoredAsText="1"/></ignoredErrors>'
        "</worksheet>"
    ).encode()
