"""Rows of a sheet as XML, set-wise: one string expression per chunk of rows.

Belongs here: how values of each kind become cells, and what a cell cannot hold. Does not belong
here: sheets and the workbook (`xlsx`).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from typing import BinaryIO, Self, cast
from xml.sax.saxutils import escape

import polars as pl
import pyarrow as pa

from exports.columns import Column, Description, Kind
from exports.formats.writing import (
    TextCounts,
    by_places,
    instant_text,
    money_text,
    replace_characters,
)
from exports.formats.xlsx_parts import DATE, INSTANT, INTEGER, KEY, TEXT, Styles
from exports.spill import SpillFactory

CELL_UNITS = 32_767
_PART_UNITS = 32_000
_FORBIDDEN = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{fffe}\x{ffff}]"
_FORBIDDEN_HERE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
# Excel reads _x003D_ inside a text as "="; where a text contains that, two runs keep it apart.
_ESCAPED = "_x[0-9A-Fa-f]{4}_"
_OPEN, _CLOSE = '<t xml:space="preserve">', "</t>"
_NEXT_RUN = f"_x{_CLOSE}</r><r>{_OPEN}"
_EPOCH = date(1899, 12, 30)
_FIRST, _LAST = date(1900, 3, 1), date(9999, 12, 31)
_SAFE_INTEGER = 10**15 - 1  # Excel keeps 15 digits
_ROW = "\0row"

Pieces = list[str | pl.Expr]


class LongTexts:
    """Texts too long for a cell, kept in a temporary file until their sheet is written."""

    columns = (
        Column(name="sheet", header="Sheet", kind=Kind.TEXT),
        Column(name="row", header="Row", kind=Kind.INTEGER),
        Column(name="column", header="Column", kind=Kind.TEXT),
        Column(name="part", header="Part", kind=Kind.INTEGER),
        Column(name="text", header="Text", kind=Kind.TEXT),
    )

    def __init__(self, spill: SpillFactory) -> None:
        """Made with what gives the temporary file, which the first long text asks for."""
        self._spill, self._stack = spill, ExitStack()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Nothing is kept yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """The temporary file is gone."""
        self._stack.close()

    def add(self, sheet: str, row: int, column: str, text: str) -> str:
        """Keep all of a text, in parts a cell can hold; what its own cell says instead."""
        if self._file is None:
            self._file = self._stack.enter_context(self._spill())
        units = text.encode("utf-16-le")
        at, part, first = 0, 0, ""
        while at < len(units):
            # A character of two units is never torn: the next part begins with it.
            piece = units[at : at + 2 * _PART_UNITS].decode("utf-16-le", "ignore")
            at, part, first = at + len(piece.encode("utf-16-le")), part + 1, first or piece
            entry = {"sheet": sheet, "row": row, "column": column, "part": part, "text": piece}
            self._file.write(json.dumps(entry).encode() + b"\n")
        # Characters that cannot be written are counted where the whole text is.
        first = _FORBIDDEN_HERE.sub("\N{REPLACEMENT CHARACTER}", first)
        return f'{first} … [{len(units) // 2:,} characters, all of them on the sheet "Long texts"]'

    def frames(self) -> Iterator[pl.DataFrame]:
        """The parts, for the sheet that holds them."""
        if self._file is None:
            return
        self._file.seek(0)
        lines = io.BufferedReader(cast("io.RawIOBase", self._file))
        for line in lines:
            yield pl.DataFrame([json.loads(line)])
        lines.detach()  # the temporary file is closed by whoever gave it


@dataclass
class Cells:
    """Makes rows of one table; counts what it had to alter.

    Attributes:
        description: the table's columns and time zone.
        styles: the workbook's cell formats.
        counts: where altered texts are counted.
        long: where overlong texts go.
    """

    description: Description
    styles: Styles
    counts: TextCounts
    long: LongTexts

    def rows(self, frame: pl.DataFrame, sheet: str, first: int) -> pa.Buffer:
        """The XML of a frame's rows, of which the first is the sheet's row `first`."""
        numbers = pl.int_range(first, first + frame.height, eager=True).cast(pl.String)
        source = frame.with_columns(numbers.alias(_ROW))
        pieces: Pieces = ['<row r="', pl.col(_ROW), '">']
        for at, column in enumerate(self.description.columns, 1):
            letter = letters(at)
            if column.kind is Kind.TEXT:
                name = f"\0text{at}"
                values = self._shortened(frame.get_column(column.name), column, sheet, first)
                prepared, runs = self._escaped(values)
                source = source.with_columns(prepared.alias(name))
                cell = _text_cell(letter, pl.col(name), runs=runs)
            else:
                cell = self._cell(frame, column, letter)
            # A missing value makes its whole cell missing.
            missing = frame.get_column(column.name).null_count()
            pieces += [_joined(cell).fill_null("")] if missing else cell
        pieces.append("</row>")
        lines = source.select(_joined(pieces)).to_series().rechunk()
        # The values of all rows lie in one buffer: no Python string is made of them.
        array = lines.to_arrow(compat_level=pl.CompatLevel.oldest())
        ends = pa.Array.from_buffers(pa.int64(), len(array) + 1, [None, array.buffers()[1]])
        start, end = ends[array.offset].as_py(), ends[array.offset + len(array)].as_py()
        return array.buffers()[2].slice(start, end - start)

    def _shortened(self, values: pl.Series, column: Column, sheet: str, first: int) -> pl.Series:
        suspects = (values.str.len_bytes() > CELL_UNITS).fill_null(value=False).arg_true()
        places, notes = [], []
        for place in suspects.to_list():
            text = values[place]
            if len(text.encode("utf-16-le")) // 2 > CELL_UNITS:
                places.append(place)
                notes.append(self.long.add(sheet, first + place, column.header, text))
        if not places:
            return values
        self.counts.overlong += len(places)
        return values.scatter(places, notes)

    def _escaped(self, values: pl.Series) -> tuple[pl.Series, bool]:
        """Texts as XML, and whether they bring their own ``<t>`` elements."""
        values = replace_characters(values, _FORBIDDEN, self.counts)
        if values.str.contains(r"[&<>\r]").any():
            values = values.str.replace_many(
                ["&", "<", ">", "\r"], ["&amp;", "&lt;", "&gt;", "&#13;"]
            )
        split = values.str.contains(_ESCAPED)
        if not split.any():
            return values, False
        text = pl.col("text")
        runs = pl.concat_str(
            pl.lit(f"<r>{_OPEN}"),
            text.str.replace_all("_x", _NEXT_RUN, literal=True),
            pl.lit(f"{_CLOSE}</r>"),
        )
        whole = pl.concat_str(pl.lit(_OPEN), text, pl.lit(_CLOSE))
        frame = pl.DataFrame({"text": values, "split": split})
        return frame.select(pl.when("split").then(runs).otherwise(whole)).to_series(), True

    def _cell(self, frame: pl.DataFrame, column: Column, letter: str) -> Pieces:
        value = pl.col(column.name)
        if column.kind is Kind.BOOLEAN:
            return [*_at(letter), '" t="b"><v>', value.cast(pl.Int8).cast(pl.String), "</v></c>"]
        if column.kind is Kind.DATE:
            serial = (value - pl.lit(_EPOCH)).dt.total_days().cast(pl.String)
            number = _number_cell(letter, DATE, serial)
            return _unless(frame, value.is_between(_FIRST, _LAST), number, letter, value)
        if column.kind is Kind.INSTANT:
            zone = self.description.time_zone.key
            local = value.dt.convert_time_zone(zone).dt.replace_time_zone(None)
            since = (local - pl.lit(_EPOCH).cast(pl.Datetime("us"))).dt.total_microseconds()
            number = _number_cell(letter, INSTANT, (since / 86_400_000_000).cast(pl.String))
            inside = local.dt.date().is_between(_FIRST, _LAST)
            return _unless(frame, inside, number, letter, instant_text(value, self.description))
        if column.kind is Kind.DECIMAL:
            places = frame.schema[column.name].scale  # type: ignore[attr-defined]
            number = _number_cell(letter, self.styles.number(places), value.cast(pl.String))
            digits = value.cast(pl.String).str.replace_all(r"[-.]", "").str.strip_chars_start("0")
            return _unless(frame, digits.str.len_bytes() <= 15, number, letter, value)
        text, style = value.cast(pl.String), pl.lit(str(KEY if column.is_key else INTEGER))
        if column.kind is Kind.MONEY:
            currency = column.currency or ""
            text = money_text(frame, column.name, currency)
            for places, codes in by_places(frame, column.name, currency).items():
                of_places = pl.lit(str(self.styles.number(places)))
                style = pl.when(pl.col(currency).is_in(codes)).then(of_places).otherwise(style)
        number = [*_at(letter), '" s="', style, '"><v>', text, "</v></c>"]
        safe = value.is_between(-_SAFE_INTEGER, _SAFE_INTEGER)
        return _unless(frame, safe, number, letter, text)


def text_cell(letter: str, row: int, text: str, style: int) -> str:
    """One cell with a text, for the few that are not rows of data."""
    text = _FORBIDDEN_HERE.sub("\ufffd", text)
    inner = escape(text, {"\r": "&#13;"}).replace("_x", _NEXT_RUN)
    return (
        f'<c r="{letter}{row}" s="{style}" t="inlineStr"><is><r>{_OPEN}{inner}{_CLOSE}</r></is></c>'
    )


def letters(number: int) -> str:
    """Name of a column: 1 is A, 27 is AA."""
    name = ""
    while number:
        number, rest = divmod(number - 1, 26)
        name = chr(65 + rest) + name
    return name


def _at(letter: str) -> Pieces:
    return [f'<c r="{letter}', pl.col(_ROW)]


def _number_cell(letter: str, style: int, text: pl.Expr) -> Pieces:
    return [*_at(letter), f'" s="{style}"><v>', text, "</v></c>"]


def _text_cell(letter: str, text: pl.Expr, *, runs: bool) -> Pieces:
    before, after = ("", "") if runs else (_OPEN, _CLOSE)
    start = f'" s="{TEXT}" t="inlineStr"><is>{before}'
    return [*_at(letter), start, text, f"{after}</is></c>"]


def _unless(
    frame: pl.DataFrame, condition: pl.Expr, cell: Pieces, letter: str, text: pl.Expr
) -> Pieces:
    """The cell, or a text where Excel could not hold its value."""
    if frame.select(condition.all()).item():
        return cell
    otherwise = _text_cell(letter, text.cast(pl.String), runs=False)
    return [pl.when(condition).then(_joined(cell)).otherwise(_joined(otherwise))]


def _joined(pieces: Pieces) -> pl.Expr:
    merged: Pieces = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return pl.concat_str([pl.lit(p) if isinstance(p, str) else p for p in merged])
