"""Options of an export are known to be right, and have one form, before anything runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exports.datasets import EXPORTS
from exports.filters import RequestError
from exports.formats.csv_file import CsvOptions
from exports.formats.registry import FORMATS
from exports.options import CsvFileOptions, parse_options
from exports.writing import content_type, extension

ORDERS = EXPORTS["orders"]


def problems(*arguments: Any) -> dict[str, str]:
    with pytest.raises(RequestError) as caught:
        parse_options(*arguments)
    return {problem.field: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("name", FORMATS)
def test_options_that_are_left_out_have_their_defaults_and_no_stored_form(name: str) -> None:
    options = parse_options(name, {}, ORDERS)
    assert not options.by_event
    assert options.canonical() == {}
    assert parse_options(name, {"packaging": "one_file"}).canonical() == {}
    zipped = parse_options(name, {"packaging": "file_per_event"}, ORDERS)
    assert zipped.canonical() == {"packaging": "file_per_event"}
    assert parse_options(name, zipped.canonical()) == zipped
    assert (extension(name, options), extension(name, zipped)) == (FORMATS[name].extension, "zip")
    assert content_type(name, options) == FORMATS[name].content_type
    assert content_type(name, zipped) == "application/zip"


def test_csv_options_reach_the_writer_in_one_form() -> None:
    raw = {"decimal_separator": ",", "delimiter": ";", "bom": True}
    options = parse_options("csv", raw)
    assert isinstance(options, CsvFileOptions)
    assert options.writer == CsvOptions(bom=True, delimiter=";", decimal_separator=",")
    assert options.canonical() == raw
    assert parse_options("csv", {"delimiter": ",", "bom": False}).canonical() == {}


def test_every_problem_of_the_options_is_named_at_once() -> None:
    found = problems("csv", {"bom": "yes", "delimiter": "#", "sheet": 1, "packaging": "tar"})
    assert set(found) == {
        *("options.bom", "options.delimiter", "options.sheet", "options.packaging"),
    }
    own = "packaging, bom, delimiter, decimal_separator"
    assert found["options.sheet"] == f"is not an option of csv; it has {own}"
    assert found["options.packaging"] == "Input should be 'one_file' or 'file_per_event'"


@pytest.mark.parametrize(
    ("name", "raw", "field", "message"),
    [
        ("xls", {}, "format", "'xls' is not a format; it is csv, xlsx, pdf, json, ndjson, parquet"),
        (["csv"], {}, "format", "['csv'] is not a format"),
        ("csv", None, "options", "must be an object"),
        ("csv", {"decimal_separator": ","}, "options", "must differ; choose delimiter ;"),
        ("json", {"bom": True}, "options.bom", "is not an option of json; it has packaging"),
    ],
)
def test_what_cannot_be_written_is_refused(name: Any, raw: Any, field: str, message: str) -> None:
    found = problems(name, raw)
    assert list(found) == [field]
    assert message in found[field]


def test_rows_of_no_single_event_cannot_be_packed_per_event() -> None:
    columns = tuple(c for c in ORDERS.columns if c.name != "event_id")
    dataset = replace(ORDERS, name="totals", columns=columns, order=("order_id",))
    found = problems("csv", {"packaging": "file_per_event"}, dataset)
    assert found["options.packaging"] == (
        "totals has no column event_id: its rows belong to no single event; ask for one_file"
    )
