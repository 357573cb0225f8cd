"""Answers: ``{data, meta}``, money, series without holes, and the same as CSV or NDJSON.

Belongs here: how finished rows are laid out, and what an answer says of its own age and
completeness. Does not belong here: computing a metric (rows come finished), or who may see it.

Money is an integer of minor units and a decimal text; ids are texts. A period that is published but
has no row had no sales and shows zeros; one that is not published shows nulls, is named in
``meta.missing`` and has the state ``not_loaded``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from pydantic_core import to_json
from starlette.responses import Response

from api.database import Reading, Row
from api.periods import NOT_LOADED, Coverage
from api.problems import Kind, Problem
from api.publications import Shelf
from exports.formats.neutralize import neutralize
from metrics.money import exponent
from metrics.registry import METRICS, MONEY, RATIOS, Distinct

Variant = Literal["json", "csv", "ndjson"]
DEFINITIONS = "/api/v1/definitions"
MEDIA_TYPES: Mapping[Variant, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
}


class Json(NamedTuple):
    """Data that is written as JSON already."""

    text: str | bytes


def joined(data: Mapping[str, Any], name: str, last: Json) -> Json:
    """An object whose last member is written already."""
    text = last.text if isinstance(last.text, bytes) else last.text.encode()
    return Json(b'%b,"%b":%b}' % (to_json(data)[:-1], name.encode(), text))


_AMOUNTS = frozenset(name for name, metric in METRICS.items() if metric.unit == MONEY)
_AVERAGES = frozenset(name for name, found in RATIOS.items() if found.numerator in _AMOUNTS)
_exponent = lru_cache(maxsize=256)(exponent)


def decimal_text(minor: int, currency: str) -> str:
    """Plain decimal text of an amount in minor units."""
    places = _exponent(currency)
    if places == 0:
        return str(minor)
    whole, rest = divmod(abs(minor), 10**places)
    return f"{'-' if minor < 0 else ''}{whole}.{rest:0{places}d}"


def money(minor: int | None, currency: str) -> dict[str, object] | None:
    """An amount: ``minor`` (integer, minor units of the currency) and ``decimal`` (text)."""
    if minor is None:
        return None
    return {"minor": minor, "decimal": decimal_text(minor, currency)}


def rounded(numerator: int, denominator: int) -> int | None:
    """A quotient, rounded half away from zero; None for x / 0."""
    if denominator == 0:
        return None
    whole = (2 * abs(numerator) + abs(denominator)) // (2 * abs(denominator))
    return whole if (numerator < 0) == (denominator < 0) else -whole


def average(
    numerator: int | None, denominator: int | None, currency: str | None
) -> dict[str, object] | None:
    """Money divided by a count: an amount like any other, with its parts; None: not loaded.

    ``minor`` and ``decimal`` are None for x / 0; ``numerator`` is in minor units. Averages are
    never averaged: numerators and denominators are added up, and divided.
    """
    if numerator is None or denominator is None or currency is None:
        return None
    minor = rounded(numerator, denominator)
    amount = money(minor, currency) or {"minor": None, "decimal": None}
    return amount | {"numerator": numerator, "denominator": denominator}


def ratio(numerator: int | None, denominator: int | None) -> dict[str, object]:
    """A quotient with its parts; ``value`` is a decimal text of six places, None for x / 0."""
    value = None
    if numerator is not None and denominator:
        exact = Decimal(numerator) / Decimal(denominator)
        value = str(exact.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP))
    return {"numerator": numerator, "denominator": denominator, "value": value}


def record(row: Mapping[str, Any], currency: str | None = None) -> dict[str, Any]:
    """A row as an answer shows it: ids as texts, metrics of money with their decimals.

    Args:
        currency: of its money; else the row's own column ``currency``.
    """
    code = currency or row.get("currency")
    return {name: _shown(name, value, code) for name, value in row.items()}


def _shown(name: str, value: Any, currency: str | None) -> Any:
    if name.endswith("_id") and value is not None:
        return str(value)
    metric = METRICS.get(name)
    if metric is not None and metric.unit == MONEY:
        if currency is None:
            raise ValueError(f"{name} is money; its row names no currency")
        return money(value, currency)
    return value


def series(
    coverage: Coverage,
    rows: Sequence[Row],
    metrics: Sequence[str],
    *,
    by: Sequence[str] = ("currency",),
) -> list[dict[str, Any]]:
    """One series for each value of ``by``: a point for every period, and totals.

    Totals sum what is loaded, and are null where nothing is; a distinct count has none, because it
    cannot be summed.

    Args:
        rows: with the columns ``by``, ``period`` and the metrics.
        metrics: names from the registry.
        by: columns that tell series apart; ``currency`` must be one of them where there is money.
    """
    groups: dict[tuple[Any, ...], dict[date, Row]] = {}
    for row in rows:
        own = groups.setdefault(tuple([row[name] for name in by]), {})
        if own.setdefault(row["period"], row) is not row:
            raise ValueError(f"two rows of one series are of {row['period']}: `by` is too short")
    frames = _frames(coverage)
    is_loaded = any(frame["state"] != NOT_LOADED for _, frame in frames)
    found = []
    for _, own in sorted(groups.items(), key=lambda group: tuple(map(str, group[0]))):
        head = next(iter(own.values()))
        currency = head.get("currency")
        units = [(name, _money_of(name, currency)) for name in metrics]
        nothing = {name: unit(0) for name, unit in units}
        unknown = dict.fromkeys(metrics)
        points = []
        for start, frame in frames:
            has = own.get(start)
            if has is not None:
                points.append(frame | {name: unit(has[name]) for name, unit in units})
            else:
                points.append(frame | (unknown if frame["state"] == NOT_LOADED else nothing))
        totals = {
            name: None
            if isinstance(METRICS.get(name), Distinct) or not is_loaded
            else unit(sum(row[name] for row in own.values()))
            for name, unit in units
        }
        described = {name: _shown(name, head[name], currency) for name in by}
        found.append({**described, "totals": totals, "points": points})
    return found


def _frames(coverage: Coverage) -> list[tuple[date, dict[str, object]]]:
    periods, restated, partitions = (
        coverage.periods,
        coverage.restated,
        coverage.shelf.partitions,
    )
    frames = []
    for start, key, name in zip(periods.starts, periods.keys, periods.names, strict=True):
        part = partitions.get(key)
        frame: dict[str, object] = {
            "period": name,
            "start": key,
            "state": coverage.state(key),
            "is_complete": part is not None and part.is_complete,
            "is_restated": key in restated,
        }
        frames.append((start, frame))
    return frames


def _money_of(name: str, currency: str | None) -> Callable[[Any], Any]:
    metric = METRICS.get(name)
    if metric is None or metric.unit != MONEY:
        return lambda value: value
    if currency is None:
        raise ValueError(f"{name} is money; its series are not told apart by currency")
    places = _exponent(currency)
    if places == 2:  # nearly always
        return lambda value: (
            None
            if value is None
            else {"minor": value, "decimal": f"{value // 100}.{value % 100:02d}"}
            if value >= 0
            else money(value, currency)
        )
    return lambda value: money(value, currency)


def flat(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The points of series as rows, for CSV and NDJSON."""
    return [
        {**{name: one[name] for name in one if name not in ("points", "totals")}, **point}
        for one in found
        for point in one["points"]
    ]


def meta(
    read: Reading,
    *,
    coverage: Coverage | None = None,
    shelves: Iterable[Shelf] = (),
    currencies: Iterable[str] = (),
    more: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """What an answer says of itself.

    Args:
        coverage: of the periods it is about.
        shelves: of further tables it read.
        currencies: that occur in it.
        more: further members.
    """
    known = [*([] if coverage is None else [coverage.shelf]), *shelves]
    through = [shelf.complete_through for shelf in known]
    published = [shelf.published_at for shelf in known if shelf.published_at is not None]
    found: dict[str, Any] = {
        "time_zone": read.time_zone,
        "currencies": {code: _exponent(code) for code in sorted(set(currencies))},
        "data_version": read.version,
        "complete_through": None if None in through else min(_dates(through), default=None),
        "published_at": max(published, default=None),
        "definitions": DEFINITIONS,
    }
    if coverage is not None:
        periods = coverage.periods
        found |= {
            "granularity": periods.granularity,
            "from": periods.first,
            "to": periods.last,
            "is_complete": coverage.is_complete,
            "missing": coverage.missing,
            "restated": coverage.labels(coverage.restated),
            "held_back": coverage.labels(coverage.shelf.held_back),
        }
    return found | dict(more or {})


def _dates(values: Iterable[date | None]) -> list[date]:
    return [value for value in values if value is not None]


class Answer(Response):
    """What an endpoint returns; it is encoded in the format that was asked for.

    Args:
        data: anything JSON can hold, dates and instants included, or ``Json``.
        meta: from ``meta``.
        table: flat rows for CSV and NDJSON; without it there is only JSON.
        status: HTTP status; only 200 is kept in the cache.
        headers: further response headers; an answer with any is not kept.
    """

    def __init__(
        self,
        data: object,
        meta: Mapping[str, Any],
        *,
        table: Callable[[], Iterable[Mapping[str, Any]]] | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Encode nothing yet."""
        self.status_code = status
        self.background = None
        self.body = b""
        self.init_headers(headers)
        self._has_headers = bool(headers)
        self._data = data
        self._meta = meta
        self._table = table

    @property
    def is_special(self) -> bool:
        """Whether it has headers of its own, which the cache does not keep."""
        return self._has_headers

    def plain(self, variant: Variant) -> Response:
        """The response as it is sent where nothing is kept."""
        self.body = self.encoded(variant)
        self.headers["Content-Type"] = MEDIA_TYPES[variant]
        self.headers["Content-Length"] = str(len(self.body))
        return self

    def encoded(self, variant: Variant) -> bytes:
        """Its bytes.

        Raises:
            Problem: it does not come in this format.
        """
        if variant == "json":
            if isinstance(self._data, Json):
                text = self._data.text
                data = text if isinstance(text, bytes) else text.encode()
            else:
                data = to_json(self._data)
            return b'{"data":%b,"meta":%b}' % (data, to_json(self._meta))
        if self._table is None:
            raise Problem(Kind.NOT_ACCEPTABLE, "This answer comes as application/json only.")
        rows = self._table()
        if variant == "ndjson":
            lines = [to_json({"meta": self._meta}), *map(to_json, rows)]
            return b"\n".join(lines) + b"\n"
        return _csv(list(rows))


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV: money as its decimals and, in a second column, minor units."""
    output = io.StringIO()
    flattened = [dict(_columns(row, neutralize)) for row in rows]
    writer = csv.DictWriter(output, list(dict.fromkeys(name for row in flattened for name in row)))
    writer.writeheader()
    writer.writerows(flattened)
    return output.getvalue().encode()


def _columns(row: Mapping[str, Any], as_text: Callable[[str], str]) -> Iterable[tuple[str, object]]:
    for name, value in row.items():
        match value:
            case {"minor": minor, "decimal": text, "numerator": above, "denominator": below}:
                yield from _average_columns(name, text, minor, above, below)
            case {"minor": minor, "decimal": text}:
                yield name, text
                yield f"{name}_minor", minor
            case None if name in _AVERAGES:
                yield from _average_columns(name, None, None, None, None)
            case None if name in _AMOUNTS:
                yield name, None
                yield f"{name}_minor", None
            case {"numerator": _, "denominator": _, "value": quotient}:
                yield name, quotient
            case bool():
                yield name, str(value).lower()
            case date() | datetime():
                yield name, value.isoformat()
            case list() | tuple() | dict():
                yield name, to_json(value).decode()
            case str():
                yield name, as_text(value)
            case _:
                yield name, value


def _average_columns(name: str, *values: object) -> Iterable[tuple[str, object]]:
    parts = ("", "_minor", "_numerator_minor", "_denominator")
    return ((f"{name}{part}", value) for part, value in zip(parts, values, strict=True))


@lru_cache(maxsize=512)
def variant_of(accept: bytes) -> Variant | None:
    """The format that an ``Accept`` header prefers; None where it accepts none of ours."""
    best: tuple[float, Variant] | None = None
    for part in accept.decode("latin-1").lower().split(","):
        name, *options = (text.strip() for text in part.split(";"))
        quality = 1.0
        for option in options:
            if option.startswith("q="):
                try:
                    quality = float(option[2:])
                except ValueError:
                    quality = 0.0
        found: Variant | None = None
        if name in ("*/*", "application/*", "application/json", ""):
            found = "json"
        elif name in ("text/csv", "text/*"):
            found = "csv"
        elif name in ("application/x-ndjson", "application/ndjson", "application/jsonl"):
            found = "ndjson"
        if found is not None and quality > 0 and (best is None or quality > best[0]):
            best = quality, found
    return None if best is None else best[1]
