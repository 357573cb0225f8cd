"""The types that rows have on their way into a file: one for each kind of column.

Belongs here: checking and converting frames. Does not belong here: what kinds there are
(``exports.columns``).
"""

from __future__ import annotations

import polars as pl

from exports.columns import Column, Description, ExportContentError, Kind

_DTYPES: dict[Kind, tuple[str, pl.DataType | type[pl.DataType]]] = {
    Kind.TEXT: ("text", pl.String),
    Kind.INTEGER: ("an integer of at most 64 bits", pl.Int64),
    Kind.DECIMAL: ("a decimal", pl.Decimal),
    Kind.MONEY: ("an integer of minor units of at most 64 bits", pl.Int64),
    Kind.DATE: ("a date", pl.Date),
    Kind.INSTANT: ("a timestamp with a time zone", pl.Datetime("us", "UTC")),
    Kind.BOOLEAN: ("a boolean", pl.Boolean),
}


def conform(frame: pl.DataFrame, description: Description) -> pl.DataFrame:
    """Exactly the described columns, in order, each with the one type its kind has.

    Raises:
        ExportContentError: a column is missing or holds something else than its kind.
    """
    columns = []
    for column in description.columns:
        if column.name not in frame.columns:
            raise ExportContentError(
                f"the rows have no column {column.name}; they have {', '.join(frame.columns)}"
            )
        columns.append(_conform(frame.get_column(column.name), column))
    return pl.DataFrame(columns)


def _conform(values: pl.Series, column: Column) -> pl.Series:
    wanted, dtype = _DTYPES[column.kind]
    have = values.dtype
    if isinstance(have, pl.Datetime) and column.kind is Kind.INSTANT and have.time_zone:
        return values.dt.cast_time_unit("us").dt.convert_time_zone("UTC")
    small_enough = have.is_integer() and have not in (pl.Int128, pl.UInt128, pl.UInt64)
    if dtype is pl.Int64 and small_enough:
        return values.cast(pl.Int64)
    if have == dtype:
        return values
    if column.kind is Kind.TEXT and isinstance(have, (pl.Categorical, pl.Enum)):
        return values.cast(pl.String)
    if have == pl.Null:
        return values.cast(pl.Decimal(38, 0) if column.kind is Kind.DECIMAL else dtype)
    raise ExportContentError(f"column {column.name} must be {wanted}, the rows have {have}")
