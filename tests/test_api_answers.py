"""What answers say: money, ids, holes that are told apart, and formats."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from api.answers import Answer, average, decimal_text, money, ratio, record, series, variant_of
from api.periods import Coverage, Periods
from api.problems import Problem
from api.publications import Partition, Shelf
from exports.masking import Role
from metrics.money import format_minor
from pipelines.settings import Settings
from tests.api_client import MINE, MY_EVENT, URL, Client, api_settings, fill, with_client


@pytest.fixture(scope="module")
def settings(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> Settings:
    made = api_settings(make_settings, fresh_database, role_url, api_cache_seconds=0)
    fill(made)
    return made


@pytest.mark.parametrize("currency", ["KES", "UGX", "KWD"])
@pytest.mark.parametrize("minor", [0, 1, -1, 99, -99, 100, 123_456, -(2**63), 2**63 - 1])
def test_amounts_are_written_as_everywhere_else(minor: int, currency: str) -> None:
    text = format_minor(minor, currency)
    assert decimal_text(minor, currency) == text
    assert money(minor, currency) == {"minor": minor, "decimal": text}


def test_quotients_are_exact_and_nothing_is_divided_by_zero() -> None:
    assert average(100, 3, "KES") == {
        **money(33, "KES"), "numerator": 100, "denominator": 3
    }  # fmt: skip
    assert average(-5, 2, "UGX") == {**money(-3, "UGX"), "numerator": -5, "denominator": 2}
    nothing = {"minor": None, "decimal": None}
    assert average(1, 0, "KES") == {**nothing, "numerator": 1, "denominator": 0}
    assert average(None, None, "KES") is None
    assert ratio(1, 3) == {"numerator": 1, "denominator": 3, "value": "0.333333"}
    assert ratio(1, 0)["value"] is None


def test_ids_are_texts_and_money_of_a_row_has_its_currency() -> None:
    row = {"event_id": 2**60, "currency": "UGX", "gross_revenue": 5, "orders": 1}
    assert record(row) == {
        "event_id": str(2**60),
        "currency": "UGX",
        "gross_revenue": {"minor": 5, "decimal": "5"},
        "orders": 1,
    }
    with pytest.raises(ValueError, match="names no currency"):
        record({"gross_revenue": 5})


def test_periods_are_days_iso_weeks_and_months() -> None:
    first, last = date(2024, 12, 28), date(2025, 2, 1)
    daily, weekly, monthly = (
        Periods(granularity, first, last) for granularity in ("daily", "weekly", "monthly")
    )
    assert (len(daily.starts), daily.starts[0], daily.starts[-1]) == (36, first, last)
    assert weekly.starts[:2] == (date(2024, 12, 23), date(2024, 12, 30))
    assert weekly.label(date(2024, 12, 30)) == "2025-W01"
    assert [monthly.label(start) for start in monthly.starts] == ["2024-12", "2025-01", "2025-02"]
    for wrong in ((last, first), (date(2000, 1, 1), date(2025, 1, 1))):
        with pytest.raises(Problem) as problem:
            Periods("daily", *wrong)
        assert problem.value.errors[0]["field"] == "query.to"


def test_no_sales_and_not_loaded_are_told_apart(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        answer = (await client.get(URL, headers=client.as_(Role.ORGANIZER, MINE))).json()
        points = {point["period"]: point for point in answer["data"][0]["points"]}
        assert list(points) == [f"2026-03-0{day}" for day in range(1, 6)]
        sold, none, missing, today = (points[f"2026-03-0{day}"] for day in (1, 2, 4, 5))
        assert sold["gross_revenue"] == {"minor": 100, "decimal": "1.00"}
        assert (none["gross_revenue"]["minor"], none["orders"], none["state"]) == (
            *(0, 0),
            "provisional",
        )
        assert (missing["gross_revenue"], missing["orders"]) == (None, None)
        assert (missing["state"], missing["is_complete"]) == ("not_loaded", False)
        assert (today["state"], today["is_complete"]) == ("open", False)
        totals = answer["data"][0]["totals"]
        assert totals["gross_revenue"] == {"minor": 900, "decimal": "9.00"}
        assert totals["buyers"] is None, "a distinct count cannot be summed"
        meta = answer["meta"]
        assert meta["missing"] == ["2026-03-04"]
        assert meta["is_complete"] is False
        assert meta["complete_through"] == "2026-03-03"
        assert meta["time_zone"] == "Africa/Nairobi"
        assert meta["currencies"] == {"KES": 2}
        assert meta["definitions"] == "/api/v1/definitions"
        assert datetime.fromisoformat(meta["published_at"]).tzinfo is not None
        assert meta["data_version"]
        early = "/sample/revenue?from=2026-02-27&to=2026-02-28"
        nothing = (await client.get(early, headers=client.as_(Role.ORGANIZER, MINE))).json()
        assert nothing["data"] == []
        assert nothing["meta"]["missing"] == ["2026-02-27", "2026-02-28"]

    with_client(settings, ask)


def test_a_point_says_whether_it_is_final_restated_or_held_back() -> None:
    at = datetime(2026, 3, 9, tzinfo=UTC)
    known = {
        "2026-03-01": Partition(True, True, at),
        "2026-03-02": Partition(True, False, at),
    }
    shelf = Shelf(None, known, date(2026, 3, 2), at, frozenset({"2026-03-02"}))
    periods = Periods("daily", date(2026, 3, 1), date(2026, 3, 2))
    coverage = Coverage(periods, "daily_metrics", shelf, frozenset({"2026-03-01"}))
    row = {"period": date(2026, 3, 1), "currency": "KWD", "gross_revenue": -1}
    points = series(coverage, [row], ["gross_revenue"])[0]["points"]
    assert [point["state"] for point in points] == ["final", "provisional"]
    assert [point["is_restated"] for point in points] == [True, False]
    assert points[0]["gross_revenue"] == {"minor": -1, "decimal": "-0.001"}
    assert coverage.labels(shelf.held_back) == ["2026-03-02"]
    assert coverage.is_complete


def test_currencies_have_series_of_their_own() -> None:
    at = datetime(2026, 3, 9, tzinfo=UTC)
    day = date(2026, 3, 1)
    shelf = Shelf(None, {day.isoformat(): Partition(True, False, at)}, day, at, frozenset())
    coverage = Coverage(Periods("daily", day, day), "daily_metrics", shelf, frozenset())
    rows = [
        {"period": day, "currency": currency, "gross_revenue": 100} for currency in ("UGX", "KES")
    ]
    found = series(coverage, rows, ["gross_revenue"])
    assert [one["currency"] for one in found] == ["KES", "UGX"]
    assert [one["totals"]["gross_revenue"]["decimal"] for one in found] == ["1.00", "100"]
    with pytest.raises(ValueError, match="not told apart by currency"):
        series(
            coverage,
            [{"period": day, "gross_revenue": 1, "name": "x"}],
            ["gross_revenue"],
            by=["name"],
        )


def test_the_same_comes_as_csv_and_ndjson(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        headers = client.as_(Role.ORGANIZER, MINE)
        whole = (await client.get(URL, headers=headers)).json()
        answer = await client.get(URL, headers=headers | {"Accept": "text/csv"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        points = whole["data"][0]["points"]
        assert [row["period"] for row in rows] == [point["period"] for point in points]
        assert rows[0]["gross_revenue"] == "1.00"
        assert rows[0]["gross_revenue_minor"] == "100"
        assert rows[0]["currency"] == "KES"
        assert (rows[3]["gross_revenue"], rows[3]["state"]) == ("", "not_loaded")
        answer = await client.get(URL, headers=headers | {"Accept": "application/x-ndjson"})
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert lines[0] == {"meta": whole["meta"]}
        assert lines[1:] == [{"currency": "KES", **point} for point in points]
        event = await client.get(
            f"/sample/events/{MY_EVENT}", headers=headers | {"Accept": "text/csv"}
        )
        row = next(csv.DictReader(io.StringIO(event.text)))
        assert row["event_name"] == "'=1+1", "a spreadsheet executes nothing"
        refused = await client.get(URL, headers=headers | {"Accept": "image/png"})
        assert refused.status_code == 406

    with_client(settings, ask)


def test_an_endpoint_without_query_fields_refuses_every_one(settings: Settings) -> None:
    async def ask(client: Client) -> None:
        path = f"/sample/events/{MY_EVENT}?organizer=13"
        answer = await client.get(path, headers=client.as_(Role.ORGANIZER, MINE))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "query.organizer"

    with_client(settings, ask)


@pytest.mark.parametrize(
    ("accept", "variant"),
    [
        ("*/*", "json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        ("text/csv;q=0.5, application/json;q=0.1", "csv"),
        ("application/json;q=0, text/csv", "csv"),
        ("application/jsonl", "ndjson"),
        ("image/png", None),
        ("text/csv;q=x", None),
    ],
)
def test_the_format_is_the_one_that_is_preferred(accept: str, variant: str | None) -> None:
    assert variant_of(accept.encode()) == variant


def test_an_answer_without_rows_comes_as_json_only() -> None:
    answer: Any = Answer({"a": 1}, {})
    assert answer.encoded("json") == b'{"data":{"a":1},"meta":{}}'
    with pytest.raises(Problem) as problem:
        answer.encoded("csv")
    assert problem.value.kind.status == 406


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {"query.from", "query.to"}),
        ("?from=2026-13-01&to=2026-03-05", {"query.from"}),
        ("?from=2026-03-01&to=2026-03-05&granularity=hourly", {"query.granularity"}),
        ("?from=2026-03-01&to=2026-03-05&organiser=13", {"query.organiser"}),
        ("?from=2026-03-05&to=2026-03-01", {"query.to"}),
        ("?from=2026-03-01&to=2026-03-05&from=2026-03-02", {"query.from"}),
    ],
)
def test_wrong_and_unknown_fields_are_named_and_never_quoted(
    settings: Settings, query: str, fields: set[str]
) -> None:
    async def ask(client: Client) -> None:
        headers = client.as_(Role.ORGANIZER, MINE)
        answer = await client.get("/sample/revenue" + query, headers=headers)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["type"] == "urn:boxoffice:problem:invalid"
        assert {error["field"] for error in problem["errors"]} == fields
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert "input" not in answer.text.replace("Input", "").replace("inputs", "")

    with_client(settings, ask)


def test_two_rows_of_one_point_are_a_mistake_and_not_overwritten() -> None:
    day = date(2026, 3, 1)
    shelf = Shelf(None, {}, None, None, frozenset())
    coverage = Coverage(Periods("daily", day, day), "daily_metrics", shelf, frozenset())
    row = {"period": day, "currency": "KES", "orders": 1}
    with pytest.raises(ValueError, match="`by` is too short"):
        series(coverage, [row, row | {"orders": 2}], ["orders"])
