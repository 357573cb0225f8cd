"""CSV as RFC 4180 has it: CRLF, quotes doubled, UTF-8, one header line.

Belongs here: the options and cells of CSV. What a spreadsheet would execute is disarmed by
`exports.formats.neutralize`. Does not belong here: other formats.

Control characters (NUL and the rest of C0 except tab, LF and CR, then DEL and C1) become U+FFFD
and are counted: many readers stop at a NUL, and terminals obey escape sequences. An empty text is
written as ``""``, a missing value as nothing at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, BinaryIO, cast

import polars as pl

from exports.columns import Column, Description, ExportContentError, Kind
from exports.formats.neutralize import CANDIDATE, neutralize, neutralize_all
from exports.formats.writing import (
    Behind,
    Output,
    Result,
    Rows,
    Tally,
    chunks,
    instant_text,
    money_text,
    replace_characters,
)

_CONTROLS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"


@dataclass(frozen=True, kw_only=True)
class CsvOptions:
    """How the file is written.

    Attributes:
        bom: begin with a byte order mark, which Excel needs to recognize UTF-8.
        delimiter: ``,`` ``;`` ``|`` or a tab.
        decimal_separator: ``.`` or ``,`` in money and decimals.
    """

    bom: bool = False
    delimiter: str = ","
    decimal_separator: str = "."

    def __post_init__(self) -> None:
        """Refuse combinations nobody could read back."""
        if self.delimiter not in (",", ";", "\t", "|"):
            raise ExportContentError("delimiter must be a comma, a semicolon, a tab or |")
        if self.decimal_separator not in (".", ","):
            raise ExportContentError("decimal_separator must be a point or a comma")
        if self.delimiter == self.decimal_separator:
            raise ExportContentError("delimiter and decimal_separator must differ")


def write_csv(
    rows: Rows,
    description: Description,
    target: BinaryIO,
    options: CsvOptions | None = None,
) -> Result:
    """Write CSV to a file object that need not be seekable.

    Raises:
        ExportContentError: the rows do not match the description.
    """
    options = options or CsvOptions()
    output, tally = Output(target), Tally(description)
    if options.bom:
        output.write(b"\xef\xbb\xbf")
    # Quoted always: Excel takes a file that begins with ID for another format.
    header = [neutralize(column.header) for column in description.columns]
    quoted = ['"' + text.replace('"', '""') + '"' for text in header]
    output.write((options.delimiter.join(quoted) + "\r\n").encode())
    with Behind() as background:
        for frame in chunks(rows, description):
            tally.add(frame)
            background.run(_write, output, _cells(frame, description, options, tally), options)
    return tally.result(output)


def _write(output: Output, cells: pl.DataFrame, options: CsvOptions) -> None:
    file = cast("IO[bytes]", output)
    cells.write_csv(file, include_header=False, separator=options.delimiter, line_terminator="\r\n")


def _cells(
    frame: pl.DataFrame, description: Description, options: CsvOptions, tally: Tally
) -> pl.DataFrame:
    texts = [column.name for column in description.of_kind(Kind.TEXT)]
    # All columns at once, on every core: most have nothing to look at more closely.
    suspect = frame.select(pl.col(texts).str.contains(f"{CANDIDATE}|{_CONTROLS}"))
    cells = []
    for column in description.columns:
        if column.kind is not Kind.TEXT:
            cells.append(_values(frame, column, description, options))
            continue
        values, hits = frame.get_column(column.name), suspect.get_column(column.name)
        if hits.any():
            values, altered = neutralize_all(values, hits)
            tally.texts.neutralized += altered
            values = replace_characters(values, _CONTROLS, tally.texts)
        cells.append(values)
    return pl.DataFrame(cells)


def _values(
    frame: pl.DataFrame, column: Column, description: Description, options: CsvOptions
) -> pl.Series:
    name, values = column.name, frame.get_column(column.name)
    if column.kind is Kind.INSTANT:
        return frame.select(instant_text(pl.col(name), description)).to_series()
    if column.kind is Kind.MONEY:
        values = frame.select(
            money_text(frame, name, column.currency or "").alias(name)
        ).to_series()
    elif column.kind is Kind.DECIMAL:
        values = values.cast(pl.String)
    else:
        return values
    if options.decimal_separator == ",":
        values = values.str.replace(".", ",", literal=True)
    return values
