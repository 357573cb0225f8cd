"""From the text of a CSV cell to a typed value, or a reason why not.

Belongs here: pure functions that turn one cell's text into a number, money, an instant, a choice.
Nothing is guessed, trimmed or rounded. Does not belong here: which columns a file has
(``import_files``), or rules that look at other rows (``sql/import``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from metrics import money

MAX_BIGINT = 2**63 - 1
FIRST_YEAR, LAST_YEAR = 2000, 2100

_WHOLE = re.compile(r"-?[0-9]+", re.ASCII)
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)
_MICROSECONDS = 6
_OUT_OF_RANGE = f"is outside the years {FIRST_YEAR} to {LAST_YEAR}; correct it"
_FLAGS = {
    "true": True, "t": True, "yes": True, "1": True,
    "false": False, "f": False, "no": False, "0": False,
}  # fmt: skip


class CellError(ValueError):
    """A cell that cannot be used.

    Attributes:
        reason: what is wrong and what to do; the same text for every cell with this problem.
        detail: what is particular to this cell, if anything.
    """

    def __init__(self, reason: str, detail: str | None = None) -> None:
        """Keep the reason and its detail."""
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class UnknownContextError(CellError):
    """A cell that cannot be read because the row's zone or currency is not known."""


def text(value: str) -> str:
    """Text as it is, unless Postgres could not store it."""
    if "\0" in value:
        raise CellError("holds a NUL character; remove it")
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes that were kept as lone surrogates
        raise CellError("is not valid UTF-8; save the file as UTF-8") from None
    return value


def whole(value: str) -> int:
    """A whole number from 0 to 2^63-1."""
    if not _WHOLE.fullmatch(value):
        raise CellError("is not a whole number; write digits only")
    if value[0] == "-" and value.strip("-0"):
        raise CellError("is negative; only 0 and above are allowed")
    # Long texts are refused unread: int() itself rejects thousands of digits.
    if len(value.lstrip("-0")) > len(str(MAX_BIGINT)) or int(value) > MAX_BIGINT:
        raise CellError("does not fit 64 bits; the largest number is 9223372036854775807")
    return int(value)


def minor(value: str) -> int:
    """An amount in minor units, 0 or more."""
    if value.count(".") == 1 and _WHOLE.fullmatch(value.replace(".", "", 1)):
        raise CellError(
            "is not a whole number of minor units; to give major units,"
            " take _minor off the column's name"
        )
    return whole(value)


def major(value: str, currency: str | None) -> int:
    """Minor units of a decimal amount in major units, 0 or more; never rounded."""
    if currency is None:
        raise UnknownContextError("is an amount without a currency; add a currency column")
    try:
        amount = money.parse(value, currency)
    except (money.MoneyError, ValueError) as error:
        raise CellError("is not an amount of its currency", str(error)[:300]) from None
    if amount < 0:
        raise CellError("is negative; only 0 and above are allowed")
    return amount


@lru_cache(maxsize=1024)
def currency(value: str) -> str:
    """An ISO 4217 code."""
    try:
        money.exponent(value)
    except money.MoneyError:
        raise CellError(
            "is not an ISO 4217 currency code; write three capitals, like KES"
        ) from None
    return value


@lru_cache(maxsize=1024)
def time_zone(value: str) -> ZoneInfo:
    """An IANA time zone."""
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CellError("is not an IANA time zone; write it like Africa/Nairobi") from None


def flag(value: str) -> bool:
    """True or false."""
    found = _FLAGS.get(value.lower())
    if found is None:
        raise CellError("is neither true nor false; write one of them")
    return found


def choice(value: str, choices: Mapping[str, str]) -> str:
    """The stored form of one of the known words, in whatever case it is written."""
    found = choices.get(value.lower())
    if found is None:
        raise CellError(f"is not known; write one of: {', '.join(choices)}")
    return found


def instant(value: str, *, is_utc: bool = False) -> datetime:
    """An instant, in UTC.

    Args:
        is_utc: the column is named ``*_utc``, so that an offset may be left out.
    """
    moment = _moment(value)
    if moment.tzinfo is None:
        if not is_utc:
            raise CellError(
                "has no UTC offset; write it like 2026-03-31T18:30:00Z, or name the column *_local"
            )
        moment = moment.replace(tzinfo=UTC)
    return _in_range(moment.astimezone(UTC))


def local_instant(value: str, zone: ZoneInfo | None) -> datetime:
    """The instant, in UTC, at which clocks of the zone show a time."""
    moment = _local(value)
    zone = _known(zone)
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
            raise CellError(
                "never happened: clocks were put forward over it; correct it or add a *_utc column",
                f"in {zone.key}",
            )
        raise CellError(
            "happened twice: clocks were put back; add a *_utc column", f"in {zone.key}"
        )
    return _in_range(first.astimezone(UTC))


def agree(moment: datetime, local: str, zone: ZoneInfo | None) -> None:
    """Refuse a local time that clocks of the zone do not show at the instant."""
    stated, zone = _local(local), _known(zone)
    shown = moment.astimezone(zone).replace(tzinfo=None)
    if shown != stated:
        raise CellError(
            "contradicts the UTC column beside it; correct one of them",
            f"clocks in {zone.key} showed {shown.isoformat(' ')}",
        )


def _known(zone: ZoneInfo | None) -> ZoneInfo:
    if zone is None:
        raise UnknownContextError(
            "is a local time of an unknown zone; add a time_zone column or give --time-zone"
        )
    return zone


def _local(value: str) -> datetime:
    moment = _moment(value)
    if moment.tzinfo is not None:
        raise CellError("has a UTC offset; a *_local column holds what the clock showed, without")
    return moment


def _moment(value: str) -> datetime:
    match = _INSTANT.fullmatch(value)
    if match is None:
        raise CellError("is not an instant; write it like 2026-03-31T18:30:00Z (ISO 8601)")
    day, clock, offset = match.groups()
    whole_seconds, _, fraction = clock.partition(".")
    if fraction[_MICROSECONDS:].strip("0"):
        raise CellError("is finer than a microsecond; write six decimals at most")
    if not FIRST_YEAR - 1 <= int(day[:4]) <= LAST_YEAR + 1:
        raise CellError(_OUT_OF_RANGE)
    clock = f"{whole_seconds}.{fraction[:_MICROSECONDS]:0<6}" if fraction else whole_seconds
    try:
        return datetime.fromisoformat(f"{day}T{clock}{offset or ''}")
    except ValueError as error:
        raise CellError("is not an instant of the calendar; correct it", str(error)) from None


def _in_range(moment: datetime) -> datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise CellError(_OUT_OF_RANGE)
    return moment
