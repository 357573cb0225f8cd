"""Money as integers: minor units and an ISO 4217 code, never a float.

Belongs here: exponents, parsing, formatting and rounding of amounts. Does not belong here: sums,
which are made in DuckDB and Postgres, where an overflow fails loudly.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from iso4217 import Currency

MAX_MINOR = 2**63 - 1
_AMOUNT = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?", re.ASCII)


class MoneyError(ValueError):
    """An amount or a currency code that cannot be used; the message says why."""


def exponent(currency: str | None) -> int:
    """Decimal places of a currency by ISO 4217 (KES 2, UGX 0, KWD 3).

    Raises:
        MoneyError: the code is not an active ISO 4217 currency with minor units, in capitals.
    """
    try:
        places = Currency(currency).exponent
    except ValueError:
        places = None
    if places is None:
        raise MoneyError(
            f"{currency!r} is not an ISO 4217 currency code (three capitals, like KES)"
        )
    return places


def currency_exponents() -> dict[str, int]:
    """Every usable ISO 4217 code with its decimal places."""
    return {c.value: c.exponent for c in Currency if c.exponent is not None}


def parse(text: str, currency: str | None) -> int:
    """Minor units of a plain decimal text such as ``-10.50``.

    Nothing is rounded: digits beyond the currency's exponent must be zeros.

    Raises:
        MoneyError: not a plain decimal, finer than the minor unit, or beyond 64 bits.
    """
    places = exponent(currency)
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise MoneyError(f"{text!r} is not an amount; write digits with an optional point: -10.50")
    sign, whole, fraction = match.group(1), match.group(2), match.group(3) or ""
    if fraction[places:].strip("0"):
        raise MoneyError(f"{text!r} is finer than the {places} decimal places of {currency}")
    minor = int(whole + fraction[:places].ljust(places, "0"))
    if minor > MAX_MINOR:
        raise MoneyError(f"{text!r} {currency} does not fit 64 bits of minor units")
    return -minor if sign else minor


def format_minor(minor: int, currency: str) -> str:
    """Plain decimal text of an amount in minor units, with exactly the currency's decimals."""
    places = exponent(currency)
    digits = str(abs(minor)).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if minor < 0 else text


def fee(gross_minor: int, rate: Decimal) -> int:
    """A fee of one order: gross x rate, rounded half away from zero, in minor units.

    Fees are rounded per order and then summed, never recomputed from a total.
    """
    return int((gross_minor * rate).quantize(Decimal(1), rounding=ROUND_HALF_UP))
