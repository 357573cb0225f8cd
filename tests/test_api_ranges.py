"""Ranges of every kind, other time zones and other currencies, in each of the analytics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import psycopg
import pytest

from api.routes import admin_analytics, organizer_analytics
from exports.masking import Role
from pipelines.settings import Settings
from tests.api_client import MINE, api_settings, publish_day, publish_events
from tests.api_shapes import Api, serving

EVENT, YEN, DINAR = 120, 121, 122
ADMIN, OWN = "/api/v1/admin/analytics", "/api/organizer/analytics"
FIRST, LAST = "2026-03-28", "2026-03-30"
EDITS = """
UPDATE reporting.daily_metrics SET currency = 'JPY' WHERE event_id = 121;
UPDATE reporting.event_summary SET currency = 'JPY' WHERE event_id = 121;
UPDATE reporting.daily_metrics SET currency = 'KWD' WHERE event_id = 122;
UPDATE reporting.event_summary SET currency = 'KWD' WHERE event_id = 122;
UPDATE reporting.event_summary SET starts_at = '2026-03-29 23:30+00' WHERE event_id = 120;
UPDATE reporting.event_summary SET starts_at = '2026-03-29 22:59+00' WHERE event_id = 121;
"""
RANGED = (
    f"{ADMIN}/overview?",
    f"{ADMIN}/requests?",
    f"{ADMIN}/revenue?",
    f"{ADMIN}/revenue?group_by=organizer&",
    f"{ADMIN}/revenue?group_by=event&",
    f"{ADMIN}/revenue?group_by=payment_method&",
    f"{OWN}/dashboard-overview?",
    f"{OWN}/revenue-trends?",
    f"{OWN}/revenue-trends?events={EVENT}&",
    f"{OWN}/sales-chart/{EVENT}?",
    f"{OWN}/sales-chart/{EVENT}?by=ticket_type&",
    f"{OWN}/revenue-overview/{EVENT}?",
)
"""Every endpoint that takes a range."""


@pytest.fixture(scope="module")
def settings(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> Settings:
    """London, on the night of the 29th an hour is missing; the 30th is not over."""
    made = api_settings(make_settings, fresh_database, role_url, time_zone="Europe/London")
    for day in (28, 29, 30):
        amounts = {EVENT: 100 * day, YEN: day, DINAR: 5, 130: 7}
        publish_day(made, date(2026, 3, day), amounts, is_complete=day < 30)
    publish_events(made, EVENT, YEN, DINAR, 130, name="Event")
    assert made.warehouse_owner_url is not None
    with psycopg.connect(made.warehouse_owner_url.get_secret_value()) as connection:
        connection.execute(EDITS.encode())
    return made


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Api]:
    with serving(settings, admin_analytics.router, *organizer_analytics.ROUTERS) as found:
        yield found


def ask(api: Api, path: str) -> Any:
    admin = path.startswith(ADMIN)
    headers = api.client.as_() if admin else api.client.as_(Role.ORGANIZER, MINE)
    return api.call("GET", path, headers=headers)


@pytest.mark.parametrize("path", RANGED)
def test_a_range_that_ends_before_it_begins_is_refused_everywhere(api: Api, path: str) -> None:
    answer = ask(api, f"{path}from=2026-03-30&to=2026-03-28")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["query.to"]


@pytest.mark.parametrize("path", RANGED)
def test_days_before_the_first_and_after_the_last_are_named_as_missing(api: Api, path: str) -> None:
    meta = ask(api, f"{path}from=2026-03-26&to=2026-04-01").json()["meta"]
    if "payment_method" in path or "ticket_type" in path:
        # Nothing of them was published: then every day is missing.
        assert len(meta["missing"]) == 7
        return
    assert meta["missing"] == ["2026-03-26", "2026-03-27", "2026-03-31", "2026-04-01"]
    assert meta["is_complete"] is False
    # Of two tables; of payments nothing was published.
    through = None if "revenue-overview" in path else "2026-03-29"
    assert meta["complete_through"] == through
    assert meta["time_zone"] == "Europe/London"


def numbers(value: Any) -> list[Any]:
    """Every number in an answer's totals, points and metrics."""
    if isinstance(value, dict):
        return [n for one in value.values() for n in numbers(one)]
    if isinstance(value, list):
        return [n for one in value for n in numbers(one)]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


@pytest.mark.parametrize("path", RANGED)
@pytest.mark.parametrize("days", ["from=2026-01-01&to=2026-01-03", "from=2027-01-01&to=2027-01-03"])
def test_nothing_that_is_not_loaded_is_zero(api: Api, path: str, days: str) -> None:
    answer = ask(api, path + days).json()
    assert len(answer["meta"]["missing"]) == 3
    data = answer["data"]
    if "recent_sales" in data:
        assert data.pop("recent_sales"), "the newest days, whatever the range is"
    parts = [
        one[name]
        for one in [data, *_members(data)]
        for name in ("totals", "points", "waterfall", "tickets")
        if isinstance(one, dict) and name in one
    ]
    for one in _members(data, "totals", "revenue"):
        parts += [one.get("metrics"), one.get("aov"), one.get("comparison")]
    assert [n for part in parts for n in numbers(part)] == []


def _members(data: Any, *names: str) -> list[Any]:
    if isinstance(data, list):
        return data
    lists = [data[name] for name in names or data if isinstance(data.get(name), list)]
    return [one for found in lists for one in found if isinstance(one, dict)]


def test_a_first_day_after_the_newest_is_a_range_of_its_own(api: Api) -> None:
    for path in RANGED:
        if path.startswith(ADMIN) and "overview" not in path:
            continue  # there both are named
        answer = ask(api, f"{path}from=2027-05-05")
        assert answer.status_code == 200, answer.text
        assert answer.json()["meta"]["missing"] == ["2027-05-05"]


def test_a_day_without_an_hour_is_a_day_like_others(api: Api) -> None:
    chart = ask(api, f"{OWN}/sales-chart/{EVENT}?from={FIRST}&to={LAST}").json()
    points = chart["data"]["series"][0]["points"]
    assert [point["gross_revenue"]["minor"] for point in points] == [2800, 2900, 3000]
    assert [point["state"] for point in points] == ["provisional", "provisional", "open"]
    weekly = f"{ADMIN}/revenue?from={FIRST}&to={LAST}&granularity=weekly"
    assert ask(api, weekly).json()["meta"]["missing"] == ["2026-W13", "2026-W14"]


def test_what_is_to_come_begins_with_the_newest_day_where_the_organizer_is(api: Api) -> None:
    # 30 March begins at 23:00 UTC in London, an hour before it does in UTC.
    data = ask(api, f"{OWN}/dashboard-overview").json()["data"]
    assert data["as_of"]["day"] == LAST
    assert {one["event_id"] for one in data["upcoming_events"]} == {str(EVENT), str(DINAR)}


def test_amounts_have_the_decimals_of_their_currency_everywhere(api: Api) -> None:
    days = f"from={LAST}&to={LAST}"
    wanted = {"KES": "30.00", "JPY": "30", "KWD": "0.005"}
    averages = wanted
    for path in (
        f"{ADMIN}/revenue?organizer={MINE}&{days}",
        f"{ADMIN}/revenue?group_by=event&organizer={MINE}&{days}",
    ):
        lines = ask(api, path).json()["data"]
        assert {x["currency"]: x["totals"]["gross_revenue"]["decimal"] for x in lines} == wanted
        assert {x["currency"]: x["points"][0]["aov"]["decimal"] for x in lines} == averages
    data = ask(api, f"{OWN}/dashboard-overview?{days}").json()["data"]
    assert {x["currency"]: x["aov"]["decimal"] for x in data["revenue"]} == averages
    data = ask(api, f"{OWN}/revenue-trends?{days}").json()["data"]
    assert {
        x["currency"]: x["metrics"]["gross_revenue"]["decimal"] for x in data["totals"]
    } == wanted
    chart = ask(api, f"{OWN}/sales-chart/{DINAR}?from={FIRST}&to={LAST}").json()
    assert chart["meta"]["currencies"] == {"KWD": 3}
    points = chart["data"]["series"][0]["points"]
    so_far = [point["cumulative"]["gross_revenue"]["decimal"] for point in points]
    assert so_far == ["0.005", "0.010", "0.015"]
    overview = ask(api, f"{OWN}/revenue-overview/{YEN}?{days}").json()["data"]["currencies"]
    assert [one["ratios"]["aov"]["decimal"] for one in overview] == ["30"]
    totals = ask(api, f"{ADMIN}/overview?{days}").json()["data"]["currencies"]
    found = {x["currency"]: x["totals"]["gross_revenue"]["decimal"] for x in totals}
    assert found == wanted | {"KES": "30.07"}
