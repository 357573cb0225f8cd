"""What every format shares: cutting rows, counting them, hashing the bytes.

Belongs here: chunks of a fixed size, control totals, the result of a write, the hashing output,
money and instants as text. Does not belong here: anything only one format does.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, BinaryIO, Self

import polars as pl
import pyarrow as pa

from exports.columns import Description, ExportContentError, Kind
from exports.formats.conform import conform
from metrics.money import MoneyError, exponent

Rows = Iterable[pl.DataFrame] | Iterable[pa.RecordBatch]
"""Rows of an export: Polars frames or Arrow batches, in the order they are to be written."""

CHUNK_ROWS = 16_384
CHUNK_BYTES = 16 * 2**20


@dataclass
class TextCounts:
    """What happened to texts on their way into a file; all zero means nothing was altered.

    Attributes:
        replaced: characters the format cannot hold, written as U+FFFD.
        neutralized: texts a spreadsheet would have executed, disarmed by apostrophes (CSV).
        overlong: texts longer than a cell may be; XLSX continues them on a sheet of their own.
        unprintable: characters none of the fonts has, printed as an empty box (PDF).
    """

    replaced: int = 0
    neutralized: int = 0
    overlong: int = 0
    unprintable: int = 0


@dataclass(frozen=True)
class Result:
    """What was written.

    Attributes:
        rows: rows of data.
        bytes: length of the file.
        sha256: of the file, in hexadecimal.
        money: currency → column → sum in minor units.
        counts: integer column that is totalled → sum.
        texts: what was altered, and how often.
        parts: sheets with rows (XLSX), pages (PDF), otherwise 1.
    """

    rows: int
    bytes: int
    sha256: str
    money: dict[str, dict[str, int]]
    counts: dict[str, int]
    texts: TextCounts
    parts: int = 1


@dataclass
class Tally:
    """Control totals of the rows seen so far; sums are 128 bits wide and cannot wrap."""

    description: Description
    rows: int = 0
    money: dict[str, dict[str, int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    texts: TextCounts = field(default_factory=TextCounts)

    def __post_init__(self) -> None:
        """Every counted column has a total, also where there are no rows."""
        self._money = self.description.of_kind(Kind.MONEY)
        self._counted = [c.name for c in self.description.of_kind(Kind.INTEGER) if c.total]
        self.counts = dict.fromkeys(self._counted, 0)

    def add(self, frame: pl.DataFrame) -> None:
        """Count a frame's rows and sum its money per currency.

        Raises:
            ExportContentError: an amount without a currency, or a currency that does not exist.
        """
        self.rows += frame.height
        for column in self._money:
            code, wide = pl.col(column.currency or ""), pl.col(column.name).cast(pl.Int128)
            sums = (
                frame.lazy()
                .filter(pl.col(column.name).is_not_null())
                .group_by(code.alias("code"))
                .agg(wide.sum().alias("sum"))
                .sort("code")
                .collect()
            )
            for currency, amount in sums.iter_rows():
                places_of(currency, column.name)
                totals = self.money.setdefault(currency, {})
                totals[column.name] = totals.get(column.name, 0) + int(amount)
        for name in self._counted:
            self.counts[name] += int(frame.get_column(name).cast(pl.Int128).sum())

    def result(self, output: Output, parts: int = 1) -> Result:
        """What a finished file reports."""
        return Result(
            rows=self.rows,
            bytes=output.length,
            sha256=output.sha256.hexdigest(),
            money={code: self.money[code] for code in sorted(self.money)},
            counts=self.counts,
            texts=self.texts,
            parts=parts,
        )


class Output(io.RawIOBase):
    """Passes bytes on to a file object, counting and hashing them on the way."""

    def __init__(self, target: BinaryIO) -> None:
        """Write to `target`, which stays open and belongs to the caller."""
        super().__init__()
        self._target = target
        self.length = 0
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self.length

    def write(self, data: Any) -> int:
        """Write all of `data`, however little the target takes at once."""
        view = memoryview(data).cast("B")
        rest = view
        while rest:
            taken = self._target.write(rest)
            if taken is None or taken == len(rest):
                break
            rest = rest[taken:]
        self.sha256.update(view)
        self.length += len(view)
        return len(view)


class Behind:
    """Does one thing at a time in a thread of its own, while the caller makes the next chunk."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[Any] | None = None

    def run(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Begin an action once the one before is done; raises what that one raised."""
        self.wait()
        self._pending = self._thread.submit(action, *arguments)

    def wait(self) -> None:
        """Until nothing is under way; raises what the last action raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> Self:
        """The thread starts with the first action."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the thread; an error of the last action is raised unless another one is."""
        try:
            if kind is None:
                self.wait()
        finally:
            self._thread.shutdown()


def chunks(
    rows: Rows,
    description: Description,
    size: int = CHUNK_ROWS,
    limit: int = CHUNK_BYTES,
) -> Iterator[pl.DataFrame]:
    """The rows again, in frames cut by what they contain and not by how they arrived.

    A frame ends after `size` rows, or with the row that brings its texts to `limit` bytes. So
    memory is bounded by the rows, and the same rows give the same bytes however they were batched.
    """
    texts = [column.name for column in description.of_kind(Kind.TEXT)]
    nothing = pl.repeat(0, pl.len(), dtype=pl.Int64)
    lengths = pl.sum_horizontal(
        nothing, *(pl.col(text).str.len_bytes().cast(pl.Int64) for text in texts)
    )
    held: list[pl.DataFrame] = []
    height = weight = 0
    for batch in rows:
        frame = batch if isinstance(batch, pl.DataFrame) else _from_arrow(batch)
        rest = conform(frame, description)
        while rest.height:
            piece = rest.head(size - height)
            weights = piece.select(lengths.cum_sum() + weight).to_series()
            cut = min(piece.height, int((weights < limit).sum()) + 1)
            held.append(piece.head(cut))
            height, weight, rest = height + cut, weights[cut - 1], rest.slice(cut)
            if height == size or weight >= limit:
                yield pl.concat(held)
                held, height, weight = [], 0, 0
    if held:
        yield pl.concat(held)


def _from_arrow(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    if not isinstance(frame, pl.DataFrame):  # only an array becomes a series
        raise TypeError("expected record batches")
    return frame


def places_of(currency: str | None, column: str) -> int:
    """Decimals of a currency, with the column in the message when there is none.

    Raises:
        ExportContentError: the amount has no usable currency.
    """
    try:
        return exponent(currency)
    except MoneyError as error:
        raise ExportContentError(f"column {column}: an amount without currency: {error}") from error


def by_places(frame: pl.DataFrame, column: str, currency: str) -> dict[int, list[str]]:
    """Decimals → the currencies of a frame's amounts that have so many."""
    codes = frame.get_column(currency).filter(frame.get_column(column).is_not_null())
    groups: dict[int, list[str]] = {}
    for code in codes.unique().sort().to_list():
        groups.setdefault(places_of(code, column), []).append(code)
    return groups


def money_text(frame: pl.DataFrame, column: str, currency: str) -> pl.Expr:
    """Amounts as plain decimal text with exactly their currency's decimals: ``-1234.50``."""
    value = pl.col(column)
    groups = by_places(frame, column, currency)

    def text(places: int) -> pl.Expr:
        if places == 0:
            return value.cast(pl.String)
        # Exact: a decimal is a 128-bit integer, and 64 bits of minor units fit with room to spare.
        unit = pl.lit(Decimal(1).scaleb(-places))
        return (value.cast(pl.Decimal(38, places)) * unit).cast(pl.String)

    if len(groups) <= 1:
        return text(next(iter(groups), 0))
    result: pl.Expr = pl.lit(None, pl.String)
    for places, codes in groups.items():
        result = pl.when(pl.col(currency).is_in(codes)).then(text(places)).otherwise(result)
    return result


def instant_text(value: pl.Expr, description: Description) -> pl.Expr:
    """Instants as ISO 8601 in the reporting time zone: ``2024-01-11T01:30:00+03:00``."""
    local = value.dt.convert_time_zone(description.time_zone.key)
    return local.dt.to_string("%Y-%m-%dT%H:%M:%S%.f%:z")


def replace_characters(values: pl.Series, forbidden: str, counts: TextCounts) -> pl.Series:
    """The texts with each character of a class (a regular expression) as U+FFFD, counted."""
    if not values.str.contains(forbidden).any():
        return values
    counts.replaced += int(values.str.count_matches(forbidden).sum())
    return values.str.replace_all(forbidden, "\N{REPLACEMENT CHARACTER}")
