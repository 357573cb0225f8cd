"""Counting and summing the rows of a finished file again, by readers the writers do not use.

Belongs here: reading CSV, NDJSON and Parquet back in batches. Does not belong here: comparing the
figures (``exports.manifest``). XLSX, PDF, JSON documents and archives are not read back: doing so
takes longer than writing them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from exports.columns import Column, Description, Kind
from exports.formats.writing import Tally
from exports.reading import ControlTotals

_BLOCK_BYTES = 4 * 2**20
_BATCH_ROWS = 32_768
_MINOR = "minor_units"


def can_recount(manifest: Mapping[str, Any]) -> bool:
    """Whether a file's format lets its rows be counted cheaply."""
    return manifest["format"] in _READERS and not manifest["entries"]


def recount(file: BinaryIO, manifest: Mapping[str, Any]) -> ControlTotals:
    """Rows and sums of a file, with bounded memory.

    Args:
        file: at its beginning; seekable for Parquet.
        manifest: says which columns there are and how they were written.
    """
    tally = Tally(_description(manifest))
    for frame in _READERS[manifest["format"]](file, tally.description, manifest["options"]):
        tally.add(frame)
    money = {code: tally.money[code] for code in sorted(tally.money)}
    return ControlTotals(rows=tally.rows, money=money, counts=tally.counts)


def _description(manifest: Mapping[str, Any]) -> Description:
    columns = tuple(
        Column(
            name=column["name"],
            header=column["header"],
            kind=Kind(column["kind"]),
            currency=column["currency"],
            total=column["is_totalled"],
        )
        for column in manifest["columns"]
    )
    return Description(
        title=manifest["title"],
        columns=columns,
        data_version=manifest["data_version"],
        as_of=datetime.fromisoformat(manifest["as_of"]),
        time_zone=ZoneInfo(manifest["time_zone"]),
    )


def _needed(description: Description) -> list[Column]:
    """The columns that are summed and those of their currencies; at least one, to count rows."""
    names = {c.name for c in description.columns if c.kind is Kind.MONEY or c.total}
    names |= {c.currency for c in description.columns if c.currency}
    return [c for c in description.columns if c.name in names] or [description.columns[0]]


def _csv(
    file: BinaryIO, description: Description, options: Mapping[str, Any]
) -> Iterator[pl.DataFrame]:
    needed = _needed(description)
    reader = pc.open_csv(
        file,
        pc.ReadOptions(
            block_size=_BLOCK_BYTES,
            skip_rows=1,
            column_names=[c.name for c in description.columns],
            use_threads=False,
        ),
        pc.ParseOptions(
            delimiter=options.get("delimiter", ","),
            newlines_in_values=True,
            ignore_empty_lines=False,
        ),
        pc.ConvertOptions(
            column_types={c.name: pa.string() for c in needed},
            include_columns=[c.name for c in needed],
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    # Money has exactly its currency's decimals: without the separator it is in minor units.
    separator = options.get("decimal_separator", ".")
    numbers = [
        pl.col(c.name).str.replace(separator, "", literal=True).cast(pl.Int64)
        for c in needed
        if c.kind is Kind.MONEY or c.total
    ]
    for batch in reader:
        yield _frame(batch).with_columns(numbers)


def _ndjson(
    file: BinaryIO, description: Description, options: Mapping[str, Any]
) -> Iterator[pl.DataFrame]:
    needed = _needed(description)
    schema = {c.name: _json_type(c) for c in needed}
    sums = [pl.col(c.name).struct.field(_MINOR).alias(c.name) for c in needed if c.currency]
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        end = block.rfind(b"\n") + 1
        if not end:
            rest += block
            continue
        yield pl.read_ndjson(io.BytesIO(rest + block[:end]), schema=schema).with_columns(sums)
        rest = block[end:]
    if rest:
        yield pl.read_ndjson(io.BytesIO(rest), schema=schema).with_columns(sums)


def _json_type(column: Column) -> pl.DataType | type[pl.DataType]:
    if column.kind is Kind.MONEY:
        return pl.Struct({_MINOR: pl.Int64})
    if column.kind is Kind.BOOLEAN:
        return pl.Boolean
    return pl.Int64 if column.kind is Kind.INTEGER else pl.String


def _parquet(
    file: BinaryIO, description: Description, options: Mapping[str, Any]
) -> Iterator[pl.DataFrame]:
    names = [c.name for c in _needed(description)]
    for batch in pq.ParquetFile(file).iter_batches(_BATCH_ROWS, columns=names):
        yield _frame(batch)


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    if not isinstance(frame, pl.DataFrame):  # only an array becomes a series
        raise TypeError("expected record batches")
    return frame


_READERS: Mapping[
    str, Callable[[BinaryIO, Description, Mapping[str, Any]], Iterator[pl.DataFrame]]
] = {"csv": _csv, "ndjson": _ndjson, "parquet": _parquet}
