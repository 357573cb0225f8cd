"""PDF: a page that says what it is, then the rows as a table over as many pages as they need.

Belongs here: the table, its pages and what is written on all of them. Does not belong here: the
first page (`pdf_summary`), texts (`pdf_fonts`), objects (`pdf_file`).

Pages are written as they fill. Totals and the number of pages are known last, so the first page
and every footer are written at the end; readers find them by their place in the page tree. Long
texts wrap inside their column, over pages if need be: nothing is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from typing import BinaryIO

import polars as pl

from exports.columns import Column, Description, Kind
from exports.formats.pdf_file import PdfFile, text_string
from exports.formats.pdf_fonts import Typesetter
from exports.formats.pdf_summary import Points, Summary, add_points, grouped
from exports.formats.writing import Output, Result, Rows, Tally, chunks, money_text

_PAGES = ((595.28, 841.89), (841.89, 595.28), (1190.55, 841.89))  # A4, A4 landscape, A3 landscape
_MARGIN, _GAP = 36.0, 6.0
_SIZE, _PITCH = 7.5, 12.5
_WIDEST = 240.0
_CHUNK_ROWS, _CHUNK_BYTES = 4_096, 2**20
_SAMPLE = 500
_CACHED = 20_000
_RIGHT = (Kind.INTEGER, Kind.DECIMAL, Kind.MONEY)


def write_pdf(rows: Rows, description: Description, target: BinaryIO) -> Result:
    """Write a PDF to a file object that need not be seekable.

    Raises:
        ExportContentError: the rows do not match the description.
    """
    output, tally, points = Output(target), Tally(description), Points()
    pdf, setter = PdfFile(output), Typesetter()
    table: _Table | None = None
    for frame in chunks(rows, description, _CHUNK_ROWS, _CHUNK_BYTES):
        tally.add(frame)
        add_points(points, frame, description)
        texts = [_texts(frame, column, description) for column in description.columns]
        table = table or _Table(pdf, setter, description, texts)
        table.add(texts)
    table = table or _Table(pdf, setter, description, [[] for _ in description.columns])
    table.finish()
    tally.texts.unprintable += table.boxes
    summary = Summary(setter, table.size, _MARGIN)
    summary.compose(description, tally, points)
    tally.texts.unprintable += summary.boxes
    contents = [*(pdf.stream(page) for page in summary.pages()), *table.contents]
    _finish(pdf, setter, description, table, contents)
    return tally.result(output, len(contents))


def _finish(
    pdf: PdfFile, setter: Typesetter, description: Description, table: _Table, contents: list[int]
) -> None:
    """Footers, page tree, fonts and properties, once everything else is written."""
    width, height = table.size
    tree, resources = pdf.reserve(), pdf.reserve()
    label = setter.wrap(
        f"{description.title} · {description.published}", _thousandths(width / 2, 7)
    )
    left = setter.line(label[0] + ("…" if len(label) > 1 else ""), 7)
    kids = []
    for number, content in enumerate(contents, 1):
        right = setter.line(f"Page {number} of {len(contents)}", 7)
        x = width - _MARGIN - right.width * 7 / 1000
        footer = pdf.stream(
            f"BT 0.35 g /R 7 Tf 1 0 0 1 {_MARGIN:g} 20 Tm {left.code} "
            f"1 0 0 1 {x:.2f} 20 Tm {right.code} ET".encode("latin-1")
        )
        kids.append(
            pdf.add(
                f"<</Type/Page/Parent {tree} 0 R/MediaBox[0 0 {width} {height}]"
                f"/Resources {resources} 0 R/Contents[{content} 0 R {footer} 0 R]>>"
            )
        )
    fonts = "".join(font.write(pdf) for font in setter.fonts)
    pdf.put(resources, f"<</Font<<{fonts}>>>>")
    pdf.put(
        tree,
        f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(f'{kid} 0 R' for kid in kids)}]>>",
    )
    catalog = pdf.add(
        f"<</Type/Catalog/Pages {tree} 0 R/Lang(en)/ViewerPreferences<</DisplayDocTitle true>>>>"
    )
    at = description.as_of.astimezone(UTC).strftime("D:%Y%m%d%H%M%SZ")
    information = pdf.add(
        f"<</Title {text_string(description.title)}/Creator(Box Office)/Producer(Box Office)"
        f"/CreationDate({at})/ModDate({at})>>"
    )
    pdf.close(catalog, information, f"{description!r}")


@dataclass
class _Layout:
    """Where a column stands and how its cells are set."""

    column: Column
    width: float
    start: str  # operators that move here from the column before
    cache: dict[str, tuple[tuple[str, ...], int]] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        return self.column.kind in _RIGHT


class _Table:
    """The table, page by page."""

    def __init__(
        self, pdf: PdfFile, setter: Typesetter, description: Description, sample: list[list[str]]
    ) -> None:
        self._pdf, self._setter = pdf, setter
        natural = [
            self._natural(column, texts)
            for column, texts in zip(description.columns, sample, strict=True)
        ]
        total = sum(natural) + _GAP * len(natural)
        self.size = next((s for s in _PAGES if total <= s[0] - 2 * _MARGIN), _PAGES[-1])
        room = self.size[0] - 2 * _MARGIN - _GAP * len(natural)
        widths = _fitted(
            natural, [column.kind is Kind.TEXT for column in description.columns], room
        )
        self._layouts: list[_Layout] = []
        before = 0.0
        for column, width in zip(description.columns, widths, strict=True):
            start = f" {before:.2f} 0 Td " if self._layouts else f" {_GAP / 2:g} 0 Td "
            self._layouts.append(_Layout(column, width, start))
            before = width + _GAP
        self.contents: list[int] = []
        self.boxes = 0
        self._header = self._compose_header()
        top = self.size[1] - _MARGIN - self._header_height - 9
        slots = max(int((top - _MARGIN) / _PITCH), 1)
        self._places = [f"1 0 0 1 {_MARGIN:g} {top - at * _PITCH:.2f} Tm" for at in range(slots)]
        across = self.size[0] - 2 * _MARGIN
        self._shades = [
            f"{_MARGIN:g} {top - at * _PITCH - 3.8:.2f} {across:.2f} {_PITCH} re "
            for at in range(slots)
        ]
        self._shaded: list[str] = []
        self._lines: list[str] = []
        self._odd = False

    def add(self, columns: list[list[str]]) -> None:
        """Set rows, given column by column."""
        firsts, tall = [], dict[int, dict[int, tuple[str, ...]]]()
        for number, (layout, texts) in enumerate(zip(self._layouts, columns, strict=True)):
            cells, boxes = self._cells(layout, texts)
            self.boxes += boxes
            firsts.append([cell[0] for cell in cells])
            for row, cell in enumerate(cells):
                if len(cell) > 1:
                    tall.setdefault(row, {})[number] = cell
        lines, places, slots = self._lines, self._places, len(self._places)
        for row, line in enumerate(map("".join, zip(*firsts, strict=True))):
            self._odd = not self._odd
            if row in tall:
                self._add_tall(line, tall[row])
                continue
            if len(lines) == slots:
                self._flush()
            if self._odd:
                self._shaded.append(self._shades[len(lines)])
            lines.append(places[len(lines)] + line)

    def finish(self) -> None:
        """Write the last page; a table without rows still shows its header."""
        if self._lines or not self.contents:
            self._flush()

    def _add_tall(self, first: str, cells: dict[int, tuple[str, ...]]) -> None:
        height = max(len(cell) for cell in cells.values())
        slots = len(self._places)
        if len(self._lines) + height > slots >= height:
            self._flush()
        for at in range(height):
            if len(self._lines) == slots:
                self._flush()
            line = (
                first
                if at == 0
                else "".join(
                    cells[n][at] if n in cells and at < len(cells[n]) else layout.start
                    for n, layout in enumerate(self._layouts)
                )
            )
            if self._odd:
                self._shaded.append(self._shades[len(self._lines)])
            self._lines.append(self._places[len(self._lines)] + line)

    def _flush(self) -> None:
        shades = f"q 0.955 0.965 0.98 rg {''.join(self._shaded)}f Q\n" if self._shaded else ""
        rows = "\n".join(self._lines)
        page = f"{shades}{self._header}BT 0 g /R {_SIZE} Tf\n{rows}\nET\n"
        self.contents.append(self._pdf.stream(page.encode("latin-1")))
        self._shaded.clear()
        self._lines.clear()

    def _cells(self, layout: _Layout, texts: list[str]) -> tuple[list[tuple[str, ...]], int]:
        cache, result, boxes = layout.cache, [], 0
        for text in texts:
            cell = cache.get(text)
            if cell is None:
                if len(cache) > _CACHED:
                    cache.clear()
                cell = cache[text] = self._cell(layout, text)
            result.append(cell[0])
            boxes += cell[1]
        return result, boxes

    def _cell(self, layout: _Layout, text: str) -> tuple[tuple[str, ...], int]:
        if not text:
            return (layout.start,), 0
        setter, room = self._setter, _thousandths(layout.width, _SIZE)
        line = setter.plain_line(text, room)
        set_lines = (
            [line] if line else [setter.line(piece, _SIZE) for piece in setter.wrap(text, room)]
        )
        if layout.right:
            codes = [f"{layout.start}[{line.width - room}]TJ{line.code}" for line in set_lines]
        else:
            codes = [layout.start + line.code for line in set_lines]
        return tuple(codes), sum(line.boxes for line in set_lines)

    def _compose_header(self) -> str:
        setter = self._setter
        cells = []
        for layout in self._layouts:
            room = _thousandths(layout.width, _SIZE)
            pieces = setter.wrap(layout.column.header, room, bold=True)
            cells.append([setter.line(piece, _SIZE, bold=True) for piece in pieces])
        height = max(len(cell) for cell in cells)
        self._header_height = height * 10 + 6
        top = self.size[1] - _MARGIN
        across = self.size[0] - 2 * _MARGIN
        bottom = top - self._header_height
        bar = f"{_MARGIN:g} {bottom:.2f} {across:.2f} {self._header_height} re"
        code = [f"q 0.12 0.23 0.37 rg {bar} f Q\nBT 1 g /B {_SIZE} Tf\n"]
        for at in range(height):
            code.append(f"1 0 0 1 {_MARGIN:g} {top - 10 - at * 10:.2f} Tm")
            for layout, cell in zip(self._layouts, cells, strict=True):
                code.append(layout.start)
                if at < len(cell):
                    room = _thousandths(layout.width, _SIZE)
                    code.append(f"[{cell[at].width - room}]TJ" if layout.right else "")
                    code.append(cell[at].code)
            code.append("\n")
        return "".join(code) + "ET\n"

    def _natural(self, column: Column, texts: list[str]) -> float:
        """Width that shows the header's words and most of the first rows on one line."""
        setter = self._setter
        words = [setter.measure(word, bold=True) for word in column.header.split() or [""]]
        sizes = sorted(setter.measure(text) for text in texts[:_SAMPLE]) or [0]
        most = sizes[-1] if column.kind is not Kind.TEXT else sizes[int(len(sizes) * 0.97)]
        return min(max(*words, most, 2000) * _SIZE / 1000 + 1, _WIDEST)


def _thousandths(points: float, size: float) -> int:
    return int(points * 1000 / size)


def _fitted(natural: list[float], flexible: list[bool], room: float) -> list[float]:
    """Widths that fill `room`: texts give way first, because they wrap well."""
    total = sum(natural)
    if total <= room:
        return [width * room / total for width in natural]
    soft = sum(width for width, flex in zip(natural, flexible, strict=True) if flex)
    left = room - (total - soft)
    if left >= 40 * sum(flexible) and soft:
        pairs = zip(natural, flexible, strict=True)
        return [width * left / soft if flex else width for width, flex in pairs]
    return [width * room / total for width in natural]


def _texts(frame: pl.DataFrame, column: Column, description: Description) -> list[str]:
    """The cells of a column as they are read; nothing where a value is missing."""
    value = pl.col(column.name)
    after: Callable[[str], str] | None = None
    if column.kind is Kind.INSTANT:
        text = value.dt.convert_time_zone(description.time_zone.key).dt.to_string(
            "%Y-%m-%d %H:%M:%S"
        )
    elif column.kind is Kind.BOOLEAN:
        text = pl.when(value).then(pl.lit("yes")).when(value.not_()).then(pl.lit("no"))
    elif column.kind is Kind.MONEY:
        text, after = money_text(frame, column.name, column.currency or ""), grouped
    else:
        text = value.cast(pl.String)
        after = grouped if column.kind in _RIGHT and not column.is_key else None
    texts: list[str] = frame.select(text.fill_null("")).to_series().to_list()
    return [after(text) for text in texts] if after else texts
