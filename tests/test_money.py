"""Money: the shared vectors, and round trips."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.money import (
    MAX_MINOR,
    MoneyError,
    currency_exponents,
    exponent,
    fee,
    format_minor,
    parse,
)
from metrics.registry import METRICS

VECTORS = json.loads((Path(__file__).parent / "vectors" / "money_vectors.json").read_text())


def _of(kind: str) -> list[Any]:
    return [pytest.param(v, id=str(i)) for i, v in enumerate(VECTORS) if v["kind"] == kind]


@pytest.mark.parametrize("vector", _of("exponent"))
def test_exponents_are_those_of_iso_4217(vector: dict[str, Any]) -> None:
    assert exponent(vector["currency"]) == vector["iso4217_minor_units"]


@pytest.mark.parametrize("vector", _of("parse"))
def test_amounts_are_parsed_exactly_or_refused(vector: dict[str, Any]) -> None:
    if vector["valid"]:
        assert parse(vector["text"], vector["currency"]) == vector["minor"]
    else:
        with pytest.raises(MoneyError):
            parse(vector["text"], vector["currency"])


@pytest.mark.parametrize("vector", _of("format"))
def test_amounts_are_written_with_their_currency_s_decimals(vector: dict[str, Any]) -> None:
    assert format_minor(int(vector["minor"]), vector["currency"]) == vector["decimal_string"]


@pytest.mark.parametrize("vector", _of("fee_round"))
def test_fees_round_half_away_from_zero(vector: dict[str, Any]) -> None:
    assert fee(vector["gross_minor"], Decimal(vector["rate"])) == vector["half_away_from_zero"]


@pytest.mark.parametrize("vector", _of("fee_sum"))
def test_fees_are_rounded_for_each_order_and_then_summed(vector: dict[str, Any]) -> None:
    expected = vector.get("expected", vector.get("expected_half_up"))
    assert sum(fee(gross, Decimal(vector["rate"])) for gross in vector["orders"]) == expected


@given(st.sampled_from(sorted(currency_exponents())), st.integers(-MAX_MINOR, MAX_MINOR))
def test_what_is_written_is_parsed_back(currency: str, minor: int) -> None:
    assert parse(format_minor(minor, currency), currency) == minor


@pytest.mark.parametrize("metric", ["payments", "organizer_net"])
def test_a_sum_beyond_64_bits_fails_instead_of_wrapping(metric: str) -> None:
    columns = ", ".join(
        f"{MAX_MINOR if name == 'payments' else 0}::BIGINT AS {name}"
        for name in ("payments", "refunds", "chargebacks", "platform_fees", "processing_fees")
    )
    with duckdb.connect() as connection, pytest.raises(duckdb.ConversionException):
        connection.execute(
            f"SELECT {METRICS[metric].sql} FROM (SELECT {columns} FROM range(2))"
        ).fetchall()
