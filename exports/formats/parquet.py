"""Parquet: the rows with their types, for people who load them into something else.

Belongs here: types, metadata and row groups. Does not belong here: other formats.

Money is an integer of minor units; the field's metadata says so and names the currency's column.
Instants are microseconds in the reporting time zone. Every text arrives unaltered.
"""

from __future__ import annotations

import json
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from exports.columns import Description, Kind
from exports.formats.json_file import metadata
from exports.formats.writing import Output, Result, Rows, Tally, chunks

_GROUP_ROWS = 32_768


def write_parquet(rows: Rows, description: Description, target: BinaryIO) -> Result:
    """Write Parquet (zstd, groups of 32,768 rows) to a file object that need not be seekable."""
    output, tally = Output(target), Tally(description)
    writer = None
    zone = description.time_zone.key
    instants = [
        pl.col(c.name).dt.convert_time_zone(zone) for c in description.of_kind(Kind.INSTANT)
    ]
    for frame in chunks(rows, description, size=_GROUP_ROWS):
        tally.add(frame)
        table = frame.with_columns(instants).to_arrow(compat_level=pl.CompatLevel.oldest())
        if writer is None:
            writer = _writer(output, table.schema, description)
        writer.write_table(table.cast(writer.schema), row_group_size=_GROUP_ROWS)
    if writer is None:
        empty = pa.schema([pa.field(c.name, _TYPES[c.kind]) for c in description.columns])
        writer = _writer(output, empty, description)
    writer.close()
    return tally.result(output)


_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.DECIMAL: pa.decimal128(38, 0),
    Kind.MONEY: pa.int64(),
    Kind.DATE: pa.date32(),
    Kind.INSTANT: pa.timestamp("us", tz="UTC"),
    Kind.BOOLEAN: pa.bool_(),
}


def _writer(output: Output, schema: pa.Schema, description: Description) -> pq.ParquetWriter:
    """A writer whose schema does not depend on how the rows arrived."""
    fields = []
    for column in description.columns:
        kind = _TYPES[column.kind]
        if column.kind is Kind.DECIMAL:
            kind = schema.field(column.name).type
        elif column.kind is Kind.INSTANT:
            kind = pa.timestamp("us", tz=description.time_zone.key)
        about = {"header": column.header, "kind": column.kind.value}
        if column.currency is not None:
            about |= {"unit": "minor units", "currency_column": column.currency}
        fields.append(pa.field(column.name, kind, metadata=about))
    about_file = {"box_office": json.dumps(metadata(description), ensure_ascii=False)}
    return pq.ParquetWriter(output, pa.schema(fields, metadata=about_file), compression="zstd")
