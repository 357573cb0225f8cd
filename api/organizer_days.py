"""Series of an organizer's days, from sums that are kept, straight into JSON.

Belongs here: the answer that is asked for most and is largest. Does not belong here: series of
anything else (``api.periods``, ``api.answers``), which these are equal to.

Values stay the texts that Postgres sent: making numbers of them, objects of these and JSON of those
took five times as long as the rest of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from pydantic_core import to_json

from api.answers import Json, average, flat, money
from api.database import Reading, Texts
from api.periods import NOT_LOADED, Coverage, Periods
from api.statements import statement
from metrics.datasets import DAILY_METRICS
from metrics.money import exponent
from metrics.registry import METRICS, MONEY, RATIOS

_Texts = Sequence[str]


@dataclass(frozen=True)
class Written:
    """Series as JSON.

    Attributes:
        data: a list of series, one for each currency in which there are rows, in order.
        coverage: of their days.
        currencies: of the series.
    """

    data: Json
    coverage: Coverage
    currencies: tuple[str, ...] = field(default=())

    def table(self) -> list[dict[str, Any]]:
        """Their points as flat rows, for CSV and NDJSON."""
        return flat(json.loads(self.data.text))


async def read_organizer_days(
    read: Reading,
    organizer: int,
    periods: Periods,
    metrics: tuple[str, ...],
    *,
    quotients: tuple[str, ...] = (),
    head: Callable[[int], Mapping[str, object]] | None = None,
) -> Written:
    """Daily series of one organizer, with totals, in one round trip; nothing else is read.

    Args:
        metrics: names from the registry that can be added up.
        quotients: ratios of the registry, of money per count, whose parts are among the metrics.
        head: given the number of a series, from 1, its first members, before ``currency``,
            ``totals`` and ``points``.

    Raises:
        ValueError: the periods are not days.
    """
    if periods.granularity != "daily":
        raise ValueError(f"an organizer's days are asked for, not {periods.granularity}")
    keys = {
        "dataset": DAILY_METRICS.name,
        "first_key": periods.keys[0],
        "last_key": periods.keys[-1],
        "event_id": None,
        "organizer_id": organizer,
    }
    rows, restated = await read.batch(
        Texts(
            statement("organizer_days", metrics=metrics),
            {**periods.parameters, "organizer": organizer},
        ),
        (statement("restated_partitions"), keys),
        only=True,
    )
    shelf = await read.shelf(DAILY_METRICS.name)
    keyed = frozenset(row["partition_key"] for row in restated)
    coverage = Coverage(periods, DAILY_METRICS.name, shelf, keyed)
    frames = _frames(coverage)
    series = cast("list[_Texts]", rows)
    found = [
        _series(frames, row, metrics, quotients, head(number) if head else {})
        for number, row in enumerate(series, 1)
    ]
    text = f"[{','.join(found)}]"
    return Written(Json(text), coverage, tuple(row[0] for row in series))


# --- One series ---------------------------------------------------------------------------------


def _series(
    frames: Sequence[tuple[str, str, bool]],
    row: _Texts,
    metrics: tuple[str, ...],
    quotients: tuple[str, ...],
    head: Mapping[str, object],
) -> str:
    currency, days, *texts = row
    columns = {name: text.split(",") for name, text in zip(metrics, texts, strict=False)}
    sums = dict(zip(metrics, map(int, texts[len(metrics) :]), strict=True))
    places = exponent(currency)
    decimal = _decimals(places)
    fields: list[_Texts] = []
    totals: dict[str, Any] = {}
    for name, column in columns.items():
        fields.append(column)
        if METRICS[name].unit == MONEY:
            fields.append(decimal(column))
            totals[name] = money(sums[name], currency)
        else:
            totals[name] = sums[name]
    for quotient in quotients:
        ratio = RATIOS[quotient]
        above, below = (list(map(int, columns[n])) for n in (ratio.numerator, ratio.denominator))
        fields.append([_text(average(a, b, currency)) for a, b in zip(above, below, strict=True)])
        totals[quotient] = average(sums[ratio.numerator], sums[ratio.denominator], currency)
    template, nothing, unknown = _templates(metrics, quotients, places)
    written = dict(
        zip(days.split(","), map(template.__mod__, zip(*fields, strict=True)), strict=True)
    )
    points = ",".join(
        [
            frame + (written.get(day) or (nothing if is_loaded else unknown))
            for day, frame, is_loaded in frames
        ]
    )
    described = to_json({**head, "currency": currency, "totals": totals}).decode()
    return f'{described[:-1]},"points":[{points}]}}'


@lru_cache(maxsize=64)
def _templates(
    metrics: tuple[str, ...], quotients: tuple[str, ...], places: int
) -> tuple[str, str, str]:
    """The metrics of a point after its frame: to be filled in, without sales, and not loaded."""
    zero = f'{{"minor":0,"decimal":"{_decimals(places)(["0"])[0]}"}}'
    amount = '{"minor":%s,"decimal":"%s"}'
    parts, nothing, unknown = [], [], []
    for name in metrics:
        is_money = METRICS[name].unit == MONEY
        parts.append(f'"{name}":{amount if is_money else "%s"}')
        nothing.append(f'"{name}":{zero if is_money else 0}')
        unknown.append(f'"{name}":null')
    for name in quotients:
        parts.append(f'"{name}":%s')
        nothing.append(f'"{name}":null')
        unknown.append(f'"{name}":null')
    return f",{','.join(parts)}}}", f",{','.join(nothing)}}}", f",{','.join(unknown)}}}"


def _text(value: object) -> str:
    return to_json(value).decode()


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


def _frames(coverage: Coverage) -> list[tuple[str, str, bool]]:
    """For each day its key, the members that say what is known of it, and whether it is loaded."""
    known = _known_frames(coverage.dataset, coverage.shelf.version)
    frames = []
    for key in coverage.periods.keys:
        frame = known.get(key)
        if frame is None:
            frame = _frame(coverage, key)
            if key in coverage.shelf.partitions:  # there are as many as there are; of others, any
                known[key] = frame
        texts, is_loaded = frame
        frames.append((key, texts[key in coverage.restated], is_loaded))
    return frames


@lru_cache(maxsize=4)
def _known_frames(dataset: str, version: str | None) -> dict[str, tuple[tuple[str, str], bool]]:
    """Frames of one version of a table, as far as they were asked for."""
    return {}


def _frame(coverage: Coverage, key: str) -> tuple[tuple[str, str], bool]:
    part = coverage.shelf.partitions.get(key)
    state = coverage.state(key)
    about = {
        "period": key,
        "start": key,
        "state": state,
        "is_complete": part is not None and part.is_complete,
    }
    text = _text(about)[:-1]
    texts = f'{text},"is_restated":false', f'{text},"is_restated":true'
    return texts, state != NOT_LOADED
