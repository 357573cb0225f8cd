"""What an export contains, said once for every format: its columns, and what surrounds the rows.

Belongs here: kinds of columns, the description of an export, the check that frames match it.
Does not belong here: where rows come from (datasets), how a format looks (`exports.formats`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo


class ExportContentError(ValueError):
    """Rows or a description that cannot become a file; the message says which and why."""


class Kind(StrEnum):
    """What the values of a column are, and therefore how each format writes them.

    ``money`` is an integer in minor units; its column names the column that holds the currency.
    ``instant`` is a point in time, written in the reporting time zone. ``decimal`` is an exact
    number with a fixed number of places, such as a share.
    """

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    MONEY = "money"
    DATE = "date"
    INSTANT = "instant"
    BOOLEAN = "boolean"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of an export.

    Attributes:
        name: the field in the frames, in JSON and in Parquet.
        header: what people read above it.
        kind: what its values are.
        currency: name of the column with the ISO 4217 code; for money, and only for money.
        total: an integer column whose sum belongs in the control totals; money always is summed,
            per currency.
        is_key: an integer that identifies: written without separators of thousands.
    """

    name: str
    header: str
    kind: Kind
    currency: str | None = None
    total: bool = False
    is_key: bool = False


@dataclass(frozen=True, kw_only=True)
class Series:
    """Rows that are a series over days, so that a chart can be drawn of them.

    Attributes:
        day: name of the date column.
        values: names of money or integer columns; money is drawn apart per currency.
    """

    day: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says about its rows.

    Attributes:
        title: what it is.
        columns: in the order they are written.
        filters: what was asked for, as label and value.
        data_version: version of the data the rows were read from.
        as_of: when that version was published; the only date a file carries, so that the same
            data gives the same bytes. With a time zone.
        time_zone: the reporting time zone; instants are written in it.
        series: set where a chart makes sense.
    """

    title: str
    columns: tuple[Column, ...]
    filters: tuple[tuple[str, str], ...] = ()
    data_version: str
    as_of: datetime
    time_zone: ZoneInfo
    series: Series | None = None

    def __post_init__(self) -> None:
        """Refuse what no format could write."""
        names = [column.name for column in self.columns]
        if not names:
            raise ExportContentError("an export needs at least one column")
        if len(set(names)) != len(names):
            raise ExportContentError(f"column names must differ: {', '.join(names)}")
        if self.as_of.tzinfo is None:
            raise ExportContentError("as_of needs a time zone")
        kinds = {column.name: column.kind for column in self.columns}
        for column in self.columns:
            if not 0 < len(column.header) <= 255:
                raise ExportContentError(f"column {column.name}: a header has 1 to 255 characters")
            if (column.currency is not None) != (column.kind is Kind.MONEY):
                raise ExportContentError(
                    f"column {column.name}: money names its currency column, nothing else does"
                )
            if column.currency is not None and kinds.get(column.currency) is not Kind.TEXT:
                raise ExportContentError(
                    f"column {column.name} is money: the text column {column.currency} with its"
                    " currency must be exported too"
                )
        if self.series is not None:
            if kinds.get(self.series.day) is not Kind.DATE:
                raise ExportContentError(f"series: {self.series.day} is not a date column")
            for name in self.series.values:
                if kinds.get(name) not in (Kind.MONEY, Kind.INTEGER):
                    raise ExportContentError(f"series: {name} is neither money nor an integer")

    def of_kind(self, *kinds: Kind) -> list[Column]:
        """The columns of these kinds, in order."""
        return [column for column in self.columns if column.kind in kinds]

    @property
    def published(self) -> str:
        """`as_of` in the reporting time zone, to the second, with its offset."""
        return self.as_of.astimezone(self.time_zone).isoformat(sep=" ", timespec="seconds")
