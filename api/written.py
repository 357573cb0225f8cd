"""Series straight into JSON, from values as Postgres wrote them.

Belongs here: the answers that are asked for most and are largest. Does not belong here: series of
more than metrics and averages (``api.answers.series``), which these are equal to.

Values stay texts: making numbers of them, objects of these and JSON of those took five times as
long as the rest of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from pydantic_core import from_json, to_json

from api.answers import Json, average, flat, money, rounded
from api.database import Texts
from api.periods import NOT_LOADED, ORGANIZER_DAYS, Coverage, Periods, table_of
from api.statements import statement
from metrics.money import exponent
from metrics.registry import METRICS, MONEY, RATIOS

_Texts = Sequence[str]
_NULL = "null"


@dataclass(frozen=True)
class Line:
    """What one series is made of.

    Attributes:
        head: its members before ``totals`` and ``points``.
        currency: of its money.
        keys: of the periods that have a row, in any order.
        columns: of every metric its values, in the order of ``keys``: texts of integers.
        before: of every metric the sum before the first period, where points have sums so far.
    """

    head: Mapping[str, object]
    currency: str
    keys: _Texts
    columns: Sequence[_Texts]
    before: Sequence[int] = ()

    @classmethod
    def of(
        cls,
        head: Mapping[str, object],
        currency: str,
        columns: Sequence[str | None],
        before: Sequence[int] = (),
    ) -> Line:
        """From periods and values with commas between them; None: there are none."""
        keys, *values = [text.split(",") if text else [] for text in columns]
        return cls(head, currency, keys, values, before)


def write(
    coverage: Coverage,
    metrics: tuple[str, ...],
    lines: Iterable[Line],
    *,
    quotients: tuple[str, ...] = (),
    has_all: Sequence[bool] | None = None,
) -> Json:
    """A list of series, each with totals (of what is loaded) and a point for every period.

    Args:
        metrics: names from the registry that can be added up.
        quotients: ratios of the registry, of money per count, whose parts are among the metrics.
        has_all: points have ``cumulative``, the sums so far, ``before`` included; and whether all
            that belongs into those of a period is loaded.
    """
    frames = _frames(coverage)
    loaded = [
        key for key, (_, is_loaded) in zip(coverage.periods.keys, frames, strict=True) if is_loaded
    ]
    ends = None
    if has_all is not None:
        pairs = zip(frames, has_all, strict=True)
        ends = ["true" if whole else "false" for (_, is_loaded), whole in pairs if is_loaded]
    template, unknown = _templates(metrics, quotients, ends is not None)
    found = []
    for line in lines:
        columns = _aligned(line, loaded)
        fields = list(_fields(line, columns, metrics, quotients, has_sums=ends is not None))
        points = map(template.__mod__, zip(*fields, *([] if ends is None else [ends]), strict=True))
        text = ",".join(
            [frame + (next(points) if is_loaded else unknown) for frame, is_loaded in frames]
        )
        totals = (
            _totals(metrics, columns, quotients, line.currency)
            if loaded
            else dict.fromkeys((*metrics, *quotients))
        )
        head = {**line.head, "totals": totals}
        found.append(f'{to_json(head).decode()[:-1]},"points":[{text}]}}')
    return Json(f"[{','.join(found)}]")


def table(written: Json) -> list[dict[str, Any]]:
    """The points of written series as flat rows, for CSV and NDJSON."""
    return flat(json.loads(written.text))


# --- By currency --------------------------------------------------------------------------------


def by_currency(periods: Periods, metrics: tuple[str, ...], asked: Mapping[str, object]) -> Texts:
    """The statement of series by currency; ``lines_by_currency`` takes its rows.

    Args:
        asked: columns that are filtered by, each with its value or a list of values.
    """
    source, column = table_of(periods, asked)
    text = statement(
        "series_by_currency",
        table=source,
        column=column,
        metrics=metrics,
        filters=tuple(name for name, value in asked.items() if not isinstance(value, list)),
        lists=tuple(name for name, value in asked.items() if isinstance(value, list)),
        # A day of a currency is one row there.
        is_summed="yes" if source == ORGANIZER_DAYS and "organizer_id" in asked else "",
    )
    values = {f"{name}_asked": value for name, value in asked.items()}
    return Texts(text, {**periods.parameters, **values})


def lines_by_currency(rows: Sequence[Any], *, has_rank: bool = False) -> list[Line]:
    """What the statement found, in the order of the currencies."""
    found = []
    for number, (currency, *columns) in enumerate(rows, 1):
        rank = {"rank": number} if has_rank else {}
        found.append(Line.of({**rank, "currency": currency}, currency, columns))
    return found


# --- One series ---------------------------------------------------------------------------------


def _aligned(line: Line, loaded: _Texts) -> Sequence[_Texts]:
    """Columns with a value for every loaded period: zero where there is no row."""
    if line.keys == loaded:
        return line.columns
    places = {key: place for place, key in enumerate(line.keys)}
    order = [places.get(key, -1) for key in loaded]
    return [[*map([*column, "0"].__getitem__, order)] for column in line.columns]


def _fields(
    line: Line,
    columns: Sequence[_Texts],
    metrics: tuple[str, ...],
    quotients: tuple[str, ...],
    *,
    has_sums: bool,
) -> Iterator[_Texts]:
    """What a template is filled in with, by column."""
    decimal = _decimals(exponent(line.currency))
    yield from _amounts(metrics, columns, decimal)
    values = dict(zip(metrics, columns, strict=True))
    for name in quotients:
        found = RATIOS[name]
        above, below = values[found.numerator], values[found.denominator]
        minors = [*map(rounded, _numbers(above), _numbers(below))]
        yield [_NULL if minor is None else str(minor) for minor in minors]
        texts = decimal(["0" if minor is None else str(minor) for minor in minors])
        pairs = zip(minors, texts, strict=True)
        yield [_NULL if minor is None else f'"{text}"' for minor, text in pairs]
        yield above
        yield below
    if has_sums:
        yield from _amounts(metrics, [*map(_sums, columns, line.before)], decimal)


def _amounts(
    metrics: tuple[str, ...], columns: Sequence[_Texts], decimal: Callable[[_Texts], list[str]]
) -> Iterator[_Texts]:
    for name, column in zip(metrics, columns, strict=True):
        yield column
        if METRICS[name].unit == MONEY:
            yield decimal(column)


def _sums(column: _Texts, before: int) -> _Texts:
    """Of each value the sum of all before it and itself."""
    return [*map(str, accumulate(_numbers(column), initial=before))][1:]


def _numbers(column: _Texts) -> list[int]:
    """The numbers of a column; a parser of JSON makes them twice as fast as ``int``."""
    found: list[int] = from_json(f"[{','.join(column)}]")
    return found


def _totals(
    metrics: tuple[str, ...], columns: Sequence[_Texts], quotients: tuple[str, ...], currency: str
) -> dict[str, Any]:
    sums = {name: sum(_numbers(column)) for name, column in zip(metrics, columns, strict=True)}
    found: dict[str, Any] = {
        name: money(value, currency) if METRICS[name].unit == MONEY else value
        for name, value in sums.items()
    }
    for name in quotients:
        ratio = RATIOS[name]
        found[name] = average(sums[ratio.numerator], sums[ratio.denominator], currency)
    return found


@lru_cache(maxsize=64)
def _templates(
    metrics: tuple[str, ...], quotients: tuple[str, ...], has_sums: bool
) -> tuple[str, str]:
    """The members of a point after its frame: to be filled in, and of one that is not loaded."""
    amount = '{"minor":%s,"decimal":"%s"}'
    values = [f'"{name}":{amount if METRICS[name].unit == MONEY else "%s"}' for name in metrics]
    nulls = [f'"{name}":null' for name in metrics]
    known, unknown = [*values], [*nulls]
    for name in quotients:
        known.append(f'"{name}":{{"minor":%s,"decimal":%s,"numerator":%s,"denominator":%s}}')
        unknown.append(f'"{name}":null')
    if has_sums:
        whole = '"is_cumulative_complete":'
        known += [f'"cumulative":{{{",".join(values)}}}', f"{whole}%s"]
        unknown += [f'"cumulative":{{{",".join(nulls)}}}', f"{whole}false"]
    return f",{','.join(known)}}}", f",{','.join(unknown)}}}"


@lru_cache(maxsize=8)
def _decimals(places: int) -> Callable[[_Texts], list[str]]:
    """Turns texts of minor units into decimal texts."""
    if places == 0:
        return list
    short = _Short(places)
    # A sign, a digit before the point, and the digits after it: more than that needs no zeros.
    least = places + 1

    def convert(texts: _Texts) -> list[str]:
        return [
            f"{text[:-places]}.{text[-places:]}" if len(text) > least else short[text]
            for text in texts
        ]

    return convert


class _Short(dict[str, str]):
    """Decimal texts of amounts with so few digits that zeros have to be put before them."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self._places = places

    def __missing__(self, text: str) -> str:
        sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
        digits = digits.rjust(self._places + 1, "0")
        found = self[text] = f"{sign}{digits[: -self._places]}.{digits[-self._places :]}"
        return found


# --- Frames -------------------------------------------------------------------------------------


def _frames(coverage: Coverage) -> list[tuple[str, bool]]:
    """For each period the members that say what is known of it, and whether it is loaded."""
    known: dict[str, Any] = coverage.shelf.frames
    periods, restated = coverage.periods, coverage.restated
    frames = []
    for key, name in zip(periods.keys, periods.names, strict=True):
        frame = known.get(key)
        if frame is None:
            frame = _frame(coverage, key, name)
            if frame[1]:  # there are as many as are loaded; of others, any
                known[key] = frame
        texts, is_loaded = frame
        frames.append((texts[key in restated], is_loaded))
    return frames


def _frame(coverage: Coverage, key: str, name: str) -> tuple[tuple[str, str], bool]:
    part = coverage.shelf.partitions.get(key)
    state = coverage.state(key)
    about = {
        "period": name,
        "start": key,
        "state": state,
        "is_complete": part is not None and part.is_complete,
    }
    text = to_json(about).decode()[:-1]
    texts = f'{text},"is_restated":false', f'{text},"is_restated":true'
    return texts, state != NOT_LOADED
