"""JSON: one document with metadata, or NDJSON with a row a line.

Belongs here: rows and metadata as JSON. Does not belong here: other formats.

Money is an object, exact in both its forms:
``{"minor_units": 123450, "currency": "KES", "decimal": "1234.50"}``. Decimals are strings, dates
ISO 8601, instants ISO 8601 in the reporting time zone. Every text arrives unaltered.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any, BinaryIO

import polars as pl

from exports.columns import Column, Description, Kind
from exports.formats.writing import (
    Behind,
    Output,
    Result,
    Rows,
    Tally,
    chunks,
    instant_text,
    money_text,
)
from metrics.money import format_minor


def write_ndjson(rows: Rows, description: Description, target: BinaryIO) -> Result:
    """Write one JSON object per line to a file object that need not be seekable."""
    output, tally = Output(target), Tally(description)
    with Behind() as background:
        for values in _values(rows, description, tally):
            background.run(_write_lines, output, values)
    return tally.result(output)


def write_json(rows: Rows, description: Description, target: BinaryIO) -> Result:
    """Write one document, ``{"metadata": ..., "rows": [...], "totals": ...}``, streaming."""
    output, tally = Output(target), Tally(description)
    head = json.dumps(metadata(description), ensure_ascii=False, indent=1)
    output.write(f'{{"metadata": {head},\n"rows": ['.encode())
    separators = chain([b"\n"], repeat(b",\n"))

    def write(values: pl.DataFrame) -> None:
        output.write(next(separators))
        # A line feed inside a text is written \\n, so each one here stands between two rows.
        output.write(memoryview(_lines(values).replace(b"\n", b",\n"))[:-2])

    with Behind() as background:
        for values in _values(rows, description, tally):
            background.run(write, values)
    output.write(f'\n],\n"totals": {json.dumps(totals(tally), indent=1)}}}\n'.encode())
    return tally.result(output)


def metadata(description: Description) -> dict[str, Any]:
    """What a description says, as plain data; also written into Parquet."""
    return {
        "title": description.title,
        "filters": [{"label": label, "value": value} for label, value in description.filters],
        "data_version": description.data_version,
        "as_of": description.as_of.astimezone(description.time_zone).isoformat(),
        "time_zone": description.time_zone.key,
        "columns": [_column(column) for column in description.columns],
    }


def totals(tally: Tally) -> dict[str, Any]:
    """Control totals as plain data: rows, money per currency, counted columns."""
    return {
        "rows": tally.rows,
        "money": {
            code: {
                name: {"minor_units": amount, "decimal": format_minor(amount, code)}
                for name, amount in sums.items()
            }
            for code, sums in sorted(tally.money.items())
        },
        "counts": tally.counts,
    }


def _column(column: Column) -> dict[str, str]:
    entry = {"name": column.name, "header": column.header, "kind": column.kind.value}
    return entry if column.currency is None else {**entry, "currency": column.currency}


def _values(rows: Rows, description: Description, tally: Tally) -> Iterator[pl.DataFrame]:
    for frame in chunks(rows, description):
        tally.add(frame)
        yield frame.select(_value(frame, c, description).alias(c.name) for c in description.columns)


def _write_lines(output: Output, values: pl.DataFrame) -> None:
    output.write(_lines(values))


def _lines(values: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    values.write_ndjson(buffer)
    return buffer.getvalue()


def _value(frame: pl.DataFrame, column: Column, description: Description) -> pl.Expr:
    value = pl.col(column.name)
    if column.kind is Kind.MONEY:
        code = column.currency or ""
        amount = pl.struct(
            value.alias("minor_units"),
            pl.col(code).alias("currency"),
            money_text(frame, column.name, code).alias("decimal"),
        )
        return pl.when(value.is_not_null()).then(amount)
    if column.kind is Kind.INSTANT:
        return instant_text(value, description)
    if column.kind is Kind.DECIMAL:
        return value.cast(pl.String)
    return value
