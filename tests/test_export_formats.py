"""Files hold exactly what was given, or say what they had to alter."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import openpyxl
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from python_calamine import CalamineWorkbook

from exports.columns import Column, Description, ExportContentError, Kind, Series
from exports.formats.csv_file import CsvOptions
from exports.formats.neutralize import neutralize, restore
from exports.formats.registry import FORMATS
from exports.formats.writing import Result, chunks, money_text
from exports.spill import DiskSpaceError
from exports.spill import spill as spill_in
from metrics.money import format_minor
from tests.leaks import spill

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parent / "vectors" / "formula_payloads.jsonl")
    .read_text()
    .splitlines()
]
PAYLOADS = [vector["value"] for vector in VECTORS]
NAIROBI = ZoneInfo("Africa/Nairobi")
AS_OF = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)
WRITERS = {
    name: partial(kind.write, spill=spill) if kind.seeks else kind.write
    for name, kind in FORMATS.items()
}

TEXT = Description(
    title="Texts",
    columns=(Column(name="text", header="Text", kind=Kind.TEXT),),
    data_version="v1",
    as_of=AS_OF,
    time_zone=NAIROBI,
)
FULL = Description(
    title="Orders of =Nyege & <Nyege>",
    columns=(
        Column(name="order", header="Order", kind=Kind.TEXT),
        Column(name="tickets", header="Tickets", kind=Kind.INTEGER, total=True),
        Column(name="price", header="Price", kind=Kind.MONEY, currency="currency"),
        Column(name="fee", header="Fee", kind=Kind.MONEY, currency="currency"),
        Column(name="currency", header="Currency", kind=Kind.TEXT),
        Column(name="day", header="Day", kind=Kind.DATE),
        Column(name="paid_at", header="Paid at", kind=Kind.INSTANT),
        Column(name="comp", header="Free", kind=Kind.BOOLEAN),
        Column(name="share", header="Share", kind=Kind.DECIMAL),
    ),
    filters=(("Event", '=HYPERLINK("http://attacker.test")'), ("Status", "paid")),
    data_version="v1",
    as_of=AS_OF,
    time_zone=NAIROBI,
    series=Series(day="day", values=("price", "tickets")),
)
ROWS = [
    (
        "A1",
        2,
        123450,
        5,
        "KES",
        date(2024, 1, 11),
        datetime(2024, 1, 10, 22, 30, tzinfo=UTC),
        False,
        "0.2500",
    ),
    (
        "A2",
        1,
        7000,
        None,
        "UGX",
        date(2024, 1, 12),
        datetime(2024, 1, 12, 9, 0, 0, 250000, UTC),
        None,
        None,
    ),
    ("A3", None, -1, 0, "KES", None, None, True, "-1.0000"),
    (
        "A4",
        3,
        1234567,
        1000,
        "KWD",
        date(1899, 5, 1),
        datetime(1970, 1, 1, tzinfo=UTC),
        False,
        "12.3456",
    ),
    ("A5", 0, -(2**63), 2**63 - 1, "USD", date(2024, 2, 29), None, False, "0.0000"),
    (
        None,
        4,
        None,
        None,
        None,
        date(2024, 1, 11),
        datetime(2024, 7, 1, tzinfo=UTC),
        True,
        "1.0000",
    ),
]
FULL_FRAME = pl.DataFrame(
    [(*row[:-1], row[-1] and Decimal(row[-1])) for row in ROWS],
    orient="row",
    schema={
        "order": pl.String,
        "tickets": pl.Int32,
        "price": pl.Int64,
        "fee": pl.Int64,
        "currency": pl.String,
        "day": pl.Date,
        "paid_at": pl.Datetime("us", "UTC"),
        "comp": pl.Boolean,
        "share": pl.Decimal(10, 4),
    },
)


def written(
    kind: str, rows: Iterable[Any], description: Description = TEXT, *options: Any
) -> tuple[bytes, Result]:
    target = io.BytesIO()
    result = WRITERS[kind](rows, description, target, *options)
    data = target.getvalue()
    assert result.bytes == len(data)
    return data, result


def texts(values: list[str]) -> list[pl.DataFrame]:
    return [pl.DataFrame({"text": pl.Series(values, dtype=pl.String)})]


def read_csv(data: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=delimiter))


def read_xlsx(data: bytes) -> tuple[list[Any], list[Any]]:
    """The first column of the first sheet without its header, by two independent readers."""
    sheet = openpyxl.load_workbook(io.BytesIO(data)).worksheets[0]
    cells = [row[0] for row in sheet.iter_rows(min_row=2)]
    assert all(cell.data_type != "f" and cell.hyperlink is None for cell in cells)
    rows = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python()
    return [cell.value for cell in cells], [row[0] for row in rows[1:]]


def xlsx_form(text: str) -> str:
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", text)


def csv_form(text: str) -> str:
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\ufffd", neutralize(text))


# --- texts


@pytest.mark.parametrize("kind", ["json", "ndjson", "parquet"])
def test_payloads_arrive_unaltered_in_formats_nothing_executes(kind: str) -> None:
    data, result = written(kind, texts(PAYLOADS))
    if kind == "json":
        got = [row["text"] for row in json.loads(data)["rows"]]
    elif kind == "ndjson":
        got = [json.loads(line)["text"] for line in data.decode().split("\n")[:-1]]
    else:
        got = pq.read_table(io.BytesIO(data))["text"].to_pylist()
    assert got == PAYLOADS
    assert result.texts.replaced == result.texts.neutralized == 0


def test_payloads_are_text_in_xlsx_for_two_readers() -> None:
    payloads = [text for text in PAYLOADS if len(text) < 32_767]
    data, result = written("xlsx", texts(payloads))
    by_openpyxl, by_calamine = read_xlsx(data)
    assert by_openpyxl == [xlsx_form(text) for text in payloads]
    assert by_calamine == by_openpyxl
    assert result.texts.replaced == sum(xlsx_form(t).count("\ufffd") for t in payloads)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            markup = re.sub(rb"<t [^>]*>[^<]*</t>", b"", archive.read(name))
            assert not re.search(rb"<f[ >]|<hyperlink|relationships/hyperlink", markup), name


def test_an_overlong_text_is_whole_on_a_sheet_of_its_own() -> None:
    long = ["x" * 32_767 + "\x01", "😀" * 20_000, "y" * 32_767, "a😀" * 50_000]
    data, result = written("xlsx", texts(long))
    assert result.texts.overlong == 3
    assert result.texts.replaced == 1
    book = openpyxl.load_workbook(io.BytesIO(data))
    cells = [row[0] for row in book["Data"].iter_rows(min_row=2, values_only=True)]
    assert cells[2] == long[2]
    assert all(len(str(cell).encode("utf-16-le")) // 2 <= 32_767 for cell in cells)
    assert all("Long texts" in str(cells[at]) for at in (0, 1, 3))
    parts: dict[int, str] = {}
    for _sheet, row, _column, _part, text in book["Long texts"].iter_rows(
        min_row=2, values_only=True
    ):
        parts[int(str(row))] = parts.get(int(str(row)), "") + str(text)
    assert parts == {2: xlsx_form(long[0]), 3: long[1], 5: long[3]}


def test_overlong_texts_are_kept_where_temporary_files_belong_and_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "of the system, and not there"))
    asked = []

    def here() -> AbstractContextManager[BinaryIO]:
        asked.append(tmp_path)
        return spill_in(tmp_path, 0)

    write = FORMATS["xlsx"].write
    write(texts(["short"]), TEXT, io.BytesIO(), here)
    assert asked == []
    result = write(texts(["x" * 40_000] * 3), TEXT, io.BytesIO(), here)
    assert (result.texts.overlong, asked) == (3, [tmp_path])
    with pytest.raises(DiskSpaceError, match="BOXOFFICE_EXPORTS_SPILL_DIRECTORY"):
        write(texts(["x" * 40_000]), TEXT, io.BytesIO(), partial(spill_in, tmp_path, 2**60))


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_csv_disarms_what_executes_and_leaves_the_rest(vector: dict[str, str]) -> None:
    text = vector["value"]
    data, result = written("csv", texts([text]))
    ((got,),) = read_csv(data)[1:]
    assert got == csv_form(text)
    assert restore(neutralize(text)) == text
    altered = got != text
    assert altered == (vector["cls"] != "keep")
    assert altered == bool(result.texts.neutralized or result.texts.replaced)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_of_a_csv_executes_whatever_delimiter_it_is_read_with(delimiter: str) -> None:
    data, _ = written("csv", texts(PAYLOADS))
    lines = data.decode().replace("\r", "\n").split("\n")
    cells = [cell for line in lines for cell in line.replace('"', delimiter).split(delimiter)]
    executes = re.compile(r"\s*[=+\-@|][^\W\d]*[(!|&]|\s*[=+\-@]+\d+[+*/]")
    assert [cell for cell in cells if executes.match(cell)] == []


@pytest.mark.parametrize(
    "text",
    [
        "+254712345678",
        "+254 712 345 678",
        "-5",
        "-1,234.50",
        "00123",
        "1e5",
        "@jane.doe",
        "--",
        ":-)",
        "=)",
        "O'Neil",
        "Smith, John",
        "a@b.test",
        "Note: free",
        "Internal: staff",
        "#1 fan",
        "x, -5",
    ],
)
def test_numbers_phones_and_ordinary_texts_stay_usable_in_csv(text: str) -> None:
    assert neutralize(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "+254-712-345-678",
        "-5,3+2",
        "-1-2",
        "-5\n+3",
        "=\n1+1",
        "@A1",
        "@SUM(1)",
        '=""',
        "\ufeff=1+1",
        "\u200b+1+1",
        "\u22121+1",
        "a\n=1+1",
        "a;@SUM(1)",
        "“=1+1",
        "WWW.attacker.test",
        "\\\\10.0.0.1\\x",
        "=5",
    ],
)
def test_relatives_of_the_payloads_are_disarmed_too(text: str) -> None:
    assert neutralize(text) != text


ANY_TEXT = st.text(
    alphabet=st.one_of(
        st.sampled_from("=+-@|'\",;\t\r\n 0123456789.eE_xX#:/\\()<>&\x00\x1b\u2028\ufeff\u200b"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ANY_TEXT, min_size=1, max_size=12))
def test_any_text_survives_csv_and_its_rule_can_be_undone(values: list[str]) -> None:
    data, _ = written("csv", texts(values))
    assert read_csv(data)[1:] == [[csv_form(text)] for text in values]
    assert [restore(neutralize(text)) for text in values] == values


@settings(max_examples=60, deadline=None)
@given(st.lists(ANY_TEXT, min_size=1, max_size=12))
def test_any_text_survives_xlsx(values: list[str]) -> None:
    data, _ = written("xlsx", texts(values))
    by_openpyxl, by_calamine = read_xlsx(data)
    assert [text or "" for text in by_openpyxl] == [xlsx_form(text) for text in values]
    assert by_calamine == [text or "" for text in by_openpyxl]


# --- values of every kind


def test_csv_writes_every_kind_exactly() -> None:
    data, result = written("csv", [FULL_FRAME], FULL)
    assert data.startswith(b'"Order","Tickets","Price"')
    assert read_csv(data)[1:] == [
        [
            "A1",
            "2",
            "1234.50",
            "0.05",
            "KES",
            "2024-01-11",
            "2024-01-11T01:30:00+03:00",
            "false",
            "0.2500",
        ],
        ["A2", "1", "7000", "", "UGX", "2024-01-12", "2024-01-12T12:00:00.250+03:00", "", ""],
        ["A3", "", "-0.01", "0.00", "KES", "", "", "true", "-1.0000"],
        [
            "A4",
            "3",
            "1234.567",
            "1.000",
            "KWD",
            "1899-05-01",
            "1970-01-01T03:00:00+03:00",
            "false",
            "12.3456",
        ],
        [
            "A5",
            "0",
            "-92233720368547758.08",
            "92233720368547758.07",
            "USD",
            "2024-02-29",
            "",
            "false",
            "0.0000",
        ],
        ["", "4", "", "", "", "2024-01-11", "2024-07-01T03:00:00+03:00", "true", "1.0000"],
    ]
    assert result.rows == 6
    assert result.counts == {"tickets": 10}
    assert result.money["KES"] == {"price": 123449, "fee": 5}
    assert result.money["UGX"] == {"price": 7000}
    assert list(result.money) == ["KES", "KWD", "UGX", "USD"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-2000, 2000)),
            st.sampled_from(["KES", "UGX", "KWD", "CLF"]),
        ),
        min_size=1,
    )
)
def test_every_amount_is_written_to_its_last_digit(amounts: list[tuple[int, str]]) -> None:
    frame = pl.DataFrame(amounts, orient="row", schema={"price": pl.Int64, "currency": pl.String})
    text = frame.select(money_text(frame, "price", "currency")).to_series().to_list()
    assert text == [format_minor(minor, code) for minor, code in amounts]


def test_csv_options() -> None:
    options = CsvOptions(bom=True, delimiter=";", decimal_separator=",")
    data, _ = written("csv", [FULL_FRAME], FULL, options)
    assert data.startswith(b"\xef\xbb\xbf")
    row = read_csv(data[3:], ";")[1]
    assert (row[2], row[8]) == ("1234,50", "0,2500")
    assert data.count(b"\r\n") == len(ROWS) + 1
    with pytest.raises(ExportContentError, match="must differ"):
        CsvOptions(decimal_separator=",")


def test_a_text_that_is_empty_differs_from_one_that_is_missing_in_csv() -> None:
    frame = pl.DataFrame({"text": ["", None]})
    assert written("csv", [frame])[0] == b'"Text"\r\n""\r\n\r\n'


def test_keys_are_numbers_without_separators_of_thousands() -> None:
    keys = replace(
        TEXT,
        columns=(
            Column(name="ticket_id", header="Ticket ID", kind=Kind.INTEGER, is_key=True),
            Column(name="tickets", header="Tickets", kind=Kind.INTEGER, total=True),
        ),
    )
    frame = pl.DataFrame({"ticket_id": [1234567], "tickets": [7654321]})
    sheet = openpyxl.load_workbook(io.BytesIO(written("xlsx", [frame], keys)[0]))["Data"]
    shown = [(cell.value, cell.number_format) for cell in sheet[2]]
    assert shown == [(1234567, "0"), (7654321, "#,##0")]
    text = "".join(
        page.extract_text()
        for page in PdfReader(io.BytesIO(written("pdf", [frame], keys)[0])).pages
    )
    assert "1234567" in text
    assert "7,654,321" in text


def test_xlsx_writes_numbers_dates_and_money_as_such() -> None:
    data, _ = written("xlsx", [FULL_FRAME], FULL)
    book = openpyxl.load_workbook(io.BytesIO(data))
    sheet = book["Data"]
    rows = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)]
    assert rows[0] == [
        "A1",
        2,
        1234.5,
        0.05,
        "KES",
        datetime(2024, 1, 11),
        datetime(2024, 1, 11, 1, 30),
        False,
        0.25,
    ]
    assert rows[1][6] == datetime(2024, 1, 12, 12, 0, 0, 250000)
    assert rows[3][5] == "1899-05-01"
    assert rows[4][2:4] == ["-92233720368547758.08", "92233720368547758.07"]
    assert rows[5][:5] == [None, 4, None, None, None]
    formats = [sheet.cell(row, 3).number_format for row in (2, 3, 5)]
    assert formats == ["#,##0.00", "#,##0", "#,##0.000"]
    assert sheet.cell(2, 6).number_format == "yyyy-mm-dd"
    assert sheet.cell(2, 7).number_format == "yyyy-mm-dd hh:mm:ss"
    assert sheet.cell(2, 1).number_format == "@"
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:I7"
    assert sheet["A1"].font.b
    assert book.properties.created == AS_OF.replace(tzinfo=None)
    assert book.properties.title == FULL.title


def test_the_summary_of_a_workbook_has_filters_totals_and_version() -> None:
    data, _ = written("xlsx", [FULL_FRAME], FULL)
    sheet = openpyxl.load_workbook(io.BytesIO(data))["Summary"]
    lines = [
        [cell for cell in row if cell is not None] for row in sheet.iter_rows(values_only=True)
    ]
    assert lines[0] == [FULL.title]
    for line in (
        ["Data version", "v1"],
        ["Data as of", "2026-01-05 06:00:00+03:00"],
        ["Rows", "6"],
        ["Filter: Event", '=HYPERLINK("http://attacker.test")'],
        ["Totals per currency", "Price", "Fee"],
        ["KES", "1234.49", "0.05"],
        ["Total: Tickets", "10"],
    ):
        assert line in lines


def test_rows_past_the_end_of_a_sheet_go_to_the_next_one() -> None:
    count = 1_048_580
    numbers = Description(
        title="Numbers",
        columns=(Column(name="n", header="N", kind=Kind.INTEGER),),
        data_version="v1",
        as_of=AS_OF,
        time_zone=NAIROBI,
    )
    frame = pl.DataFrame({"n": pl.int_range(count, eager=True)})
    data, result = written("xlsx", [frame], numbers)
    assert (result.rows, result.parts) == (count, 2)
    book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    assert book.sheet_names == ["Data", "Data 2", "Summary"]
    assert book.get_sheet_by_name("Data").to_python()[-1] == [1_048_574]
    assert book.get_sheet_by_name("Data 2").to_python() == [
        ["N"],
        *([n] for n in range(count - 5, count)),
    ]


@pytest.mark.parametrize("kind", ["json", "ndjson"])
def test_json_says_money_in_minor_units_and_as_a_decimal(kind: str) -> None:
    data, result = written(kind, [FULL_FRAME], FULL)
    if kind == "json":
        document = json.loads(data)
        rows = document["rows"]
        assert document["metadata"]["data_version"] == "v1"
        assert document["metadata"]["filters"][1] == {"label": "Status", "value": "paid"}
        assert document["totals"]["rows"] == result.rows
        assert document["totals"]["money"]["KES"]["price"] == {
            "minor_units": 123449,
            "decimal": "1234.49",
        }
    else:
        rows = [json.loads(line) for line in data.splitlines()]
    assert rows[0] == {
        "order": "A1",
        "tickets": 2,
        "price": {"minor_units": 123450, "currency": "KES", "decimal": "1234.50"},
        "fee": {"minor_units": 5, "currency": "KES", "decimal": "0.05"},
        "currency": "KES",
        "day": "2024-01-11",
        "paid_at": "2024-01-11T01:30:00+03:00",
        "comp": False,
        "share": "0.2500",
    }
    assert rows[5]["price"] is None
    assert rows[4]["price"]["minor_units"] == -(2**63)


def test_parquet_keeps_types_and_says_what_the_integers_are() -> None:
    data, _ = written("parquet", [FULL_FRAME], FULL)
    table = pq.read_table(io.BytesIO(data))
    assert table["price"].to_pylist() == FULL_FRAME["price"].to_list()
    assert table.schema.field("paid_at").type == pa.timestamp("us", tz="Africa/Nairobi")
    assert table["paid_at"].to_pylist()[0] == ROWS[0][6]
    assert table.schema.field("price").metadata[b"currency_column"] == b"currency"
    assert json.loads(table.schema.metadata[b"box_office"])["title"] == FULL.title


# --- PDF


def pdf_text(data: bytes) -> str:
    """The text of the rows, without blanks: where lines end is the layout's affair."""
    footer = re.compile(r"Texts · 2026-01-05 06:00:00\+03:00\s*Page \d+ of \d+$")
    rows = ""
    for page in PdfReader(io.BytesIO(data), strict=True).pages[1:]:
        text, cut = footer.subn("", page.extract_text())
        assert cut == 1
        rows += text.removeprefix("Text")
    return without_blanks(rows)


def without_blanks(text: str) -> str:
    return re.sub(r"[\s\x0b\x0c\x1c-\x1f\x85\u200b\u2028\u2029\u3000]", "", text)


def test_no_character_of_the_payloads_is_lost_in_pdf() -> None:
    left_to_right = [text for text in PAYLOADS if "\u0627" not in text]
    for text in left_to_right:
        data, _ = written("pdf", texts([text]))
        assert pdf_text(data) == without_blanks(text), repr(text[:80])
        assert b"/URI" not in data
        assert b"/Annot" not in data
        assert b"/JavaScript" not in data


def test_a_text_longer_than_a_page_goes_on_over_pages() -> None:
    long = "".join(f"{n} " for n in range(20_000))
    data, result = written("pdf", texts([long, "end"]))
    assert pdf_text(data) == without_blanks(long) + "end"
    assert result.parts > 3


def test_names_of_many_scripts_are_shaped_ordered_and_can_be_copied() -> None:
    names = [
        "محمد علي",
        "Zoë Ng\u2019ang\u2019a",
        "ሰላም ተስፋዬ",
        "Anna 😀 Smith",
        "Łukasz Ольга",
        "李小龍",
    ]
    data, result = written("pdf", texts(names))
    page = PdfReader(io.BytesIO(data)).pages[1]
    shown = page.extract_text()
    for name in names[1:]:
        assert without_blanks(name) in without_blanks(shown)
    assert sorted(without_blanks(names[0])) == sorted(re.findall("[\u0600-\u06ff]", shown))
    # The one logical text, for readers that copy what is meant and not what is drawn.
    content = page.get_contents()
    assert content is not None
    actual = names[0].encode("utf-16-be").hex()
    assert f"/ActualText<FEFF{actual}>".encode() in content.get_data()
    assert result.texts.unprintable == 3
    fonts = page["/Resources"]["/Font"]  # type: ignore[index]
    arabic = fonts["/F0U"]["/DescendantFonts"][0]
    assert (
        len(arabic["/CIDToGIDMap"].get_data()) // 2 - 1 >= 6
    )  # initial, medial, final forms differ


def test_the_first_page_has_title_filters_totals_and_a_chart() -> None:
    data, result = written("pdf", [FULL_FRAME], FULL)
    reader = PdfReader(io.BytesIO(data), strict=True)
    page = reader.pages[0].extract_text()
    for part in (
        FULL.title,
        '=HYPERLINK("http://attacker.test")',
        "1,234.49",
        "7,000",
        "Price per day, KES",
    ):
        assert part in page
    assert "2024-01-11" in page
    assert len(reader.pages) == result.parts
    for number, each in enumerate(reader.pages, 1):
        assert f"Page {number} of {result.parts}" in each.extract_text()
    assert reader.metadata is not None
    assert reader.metadata.title == FULL.title
    assert reader.metadata.creation_date == AS_OF


def test_the_header_is_repeated_and_every_row_of_a_pdf_is_there_once() -> None:
    data, result = written("pdf", texts([f"row-{n:05d}" for n in range(500)]))
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(data), strict=True).pages]
    assert result.parts == len(pages) > 5
    assert all(page.startswith("Text") for page in pages[1:])
    assert re.findall(r"row-\d{5}", "".join(pages)) == [f"row-{n:05d}" for n in range(500)]


def test_money_in_pdf_has_its_decimals_and_times_the_reporting_zone() -> None:
    data, _ = written("pdf", [FULL_FRAME], FULL)
    reader = PdfReader(io.BytesIO(data))
    text = "".join(page.extract_text() for page in reader.pages)
    for part in ("1,234.50", "7,000", "-0.01", "1,234.567", "2024-01-11 01:30:00", "12.3456"):
        assert part in text


MIXED_DIRECTIONS = st.text(
    alphabet="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u200d\ufe0f"
    "\u0301\u064b\u0645\u062d\u05e9\u05b0\u0663 1a(%-.\t😀🇰🇪\u0378\U0010ffff",
    max_size=20,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(ANY_TEXT, MIXED_DIRECTIONS), min_size=1, max_size=4))
def test_any_text_makes_a_pdf_that_can_be_read(values: list[str]) -> None:
    data, _ = written("pdf", texts(values))
    assert len(PdfReader(io.BytesIO(data), strict=True).pages) == 2
    for page in PdfReader(io.BytesIO(data), strict=True).pages:
        page.extract_text()


# --- every format


@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_rows_give_the_same_bytes_however_they_are_batched(kind: str) -> None:
    frame = pl.concat([FULL_FRAME] * 3000, rechunk=True)
    once, result = written(kind, [frame], FULL)
    batches = frame.to_arrow().to_batches(max_chunksize=1777)
    again, same = written(kind, batches, FULL)
    assert once == again
    assert result == same


@pytest.mark.parametrize("kind", WRITERS)
def test_no_rows_make_a_file_that_says_so(kind: str) -> None:
    data, result = written(kind, [], FULL)
    assert (result.rows, result.money, result.counts) == (0, {}, {"tickets": 0})
    assert data or kind == "ndjson"


@pytest.mark.parametrize("kind", WRITERS)
def test_an_amount_without_a_currency_is_refused(kind: str) -> None:
    frame = FULL_FRAME.with_columns(currency=pl.lit("XX"))
    with pytest.raises(ExportContentError, match="column price"):
        written(kind, [frame], FULL)


@pytest.mark.parametrize("kind", WRITERS)
def test_rows_that_are_not_as_described_are_refused(kind: str) -> None:
    with pytest.raises(ExportContentError, match="no column share"):
        written(kind, [FULL_FRAME.drop("share")], FULL)
    with pytest.raises(ExportContentError, match=r"price must be .* minor units"):
        written(kind, [FULL_FRAME.with_columns(pl.col("price").cast(pl.Float64))], FULL)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_write_that_fails_is_not_reported_as_finished(kind: str) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 20_000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    target: BinaryIO = Full()
    rows = [pl.DataFrame({"text": [f"{n * 7919 % 100_003:x}" for n in range(100_000)]})]
    with pytest.raises(OSError, match="No space left"):
        WRITERS[kind](rows, TEXT, target)


def test_sums_beyond_64_bits_do_not_wrap() -> None:
    frame = FULL_FRAME.filter(pl.col("order") == "A5")
    _, result = written("csv", [pl.concat([frame] * 3)], FULL)
    assert result.money == {"USD": {"price": -3 * 2**63, "fee": 3 * (2**63 - 1)}}


def test_frames_are_cut_where_their_texts_get_heavy() -> None:
    frame = pl.DataFrame({"text": ["x" * 1000] * 100})
    heights = [part.height for part in chunks([frame, frame], TEXT, size=64, limit=50_000)]
    assert heights == [50, 50, 50, 50]
    heights = [part.height for part in chunks([frame, frame], TEXT, size=30, limit=50_000)]
    assert heights == [30] * 6 + [20]


def test_a_description_that_cannot_be_written_is_refused() -> None:
    money = Column(name="price", header="Price", kind=Kind.MONEY, currency="currency")
    with pytest.raises(ExportContentError, match="must be exported too"):
        Description(title="", columns=(money,), data_version="", as_of=AS_OF, time_zone=NAIROBI)
