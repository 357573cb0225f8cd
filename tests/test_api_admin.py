"""Administrators' numbers: equal to plain SQL on the source and on the finished tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from api.routes import admin_analytics
from api.routes.admin_examples import OUTCOMES, WATERFALL
from exports.masking import Role
from metrics.registry import METRICS, MONEY
from tests.api_platform import ABSENT, FIRST, LAST, RESTATED, Platform, published_platform
from tests.api_shapes import Api, differences, example_of, serving
from tests.deployment import Deployment

BASE = "/api/v1/admin/analytics"
RANGE = f"from={FIRST}&to={LAST}"


@pytest.fixture(scope="module")
def platform(
    make_deployment: Callable[..., Deployment], role_url: Callable[[str, str], str]
) -> Platform:
    return published_platform(make_deployment, role_url)


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Api]:
    with serving(platform.settings, admin_analytics.router) as found:
        yield found


def ask(api: Api, *paths: str) -> list[Any]:
    """Answers to calls of an admin."""
    found = []
    for path in paths:
        response = api.call("GET", BASE + path)
        assert response.status_code == 200, response.text
        found.append(response.json())
    return found


def plain(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {n: v["minor"] if isinstance(v := values[n], dict) else v for n in names}


def sums(names: tuple[str, ...]) -> str:
    return ", ".join(f"sum({name})::bigint AS {name}" for name in names)


def test_requests_and_their_outcomes_are_those_of_the_source(platform: Platform, api: Api) -> None:
    [answer] = ask(api, f"/requests?{RANGE}")
    day = "({} AT TIME ZONE 'Africa/Nairobi')::date BETWEEN %(first)s AND %(last)s"
    instants = {
        "requests": "placed_at",
        "orders": "completed_at",
        "orders_expired": "expired_at",
        "orders_cancelled": "cancelled_at",
    }
    counts = [f"count(*) FILTER (WHERE {day.format(at)}) AS {n}" for n, at in instants.items()]
    source = platform.source(
        f"SELECT {', '.join(counts)} FROM orders WHERE NOT is_test", {"first": FIRST, "last": LAST}
    )[0]
    points = answer["data"]["points"]
    for name, count in source.items():
        assert sum(point[name] for point in points) == count > 0
        assert answer["data"]["totals"][name] == count
    finished = platform.rows(f"SELECT {sums(OUTCOMES)} FROM reporting.daily_metrics")[0]
    assert plain(answer["data"]["totals"], OUTCOMES) == finished
    ratio = answer["data"]["totals"]["request_conversion"]
    assert (ratio["numerator"], ratio["denominator"]) == (finished["orders"], finished["requests"])
    assert len(points) == (LAST - FIRST).days + 1


def test_requests_of_weeks_and_months_are_the_sums_of_their_days(
    platform: Platform, api: Api
) -> None:
    weekly, monthly = ask(
        api,
        "/requests?from=2026-02-09&to=2026-02-22&granularity=weekly",
        f"/requests?{RANGE}&granularity=monthly",
    )
    daily = platform.rows(
        f"""SELECT date_trunc('week', business_date)::date::text AS start, {sums(OUTCOMES)}
        FROM reporting.daily_metrics WHERE business_date <= '2026-02-22' GROUP BY 1 ORDER BY 1"""
    )
    found = [{"start": p["start"]} | plain(p, OUTCOMES) for p in weekly["data"]["points"]]
    assert found == daily
    whole = platform.rows(f"SELECT {sums(OUTCOMES)} FROM reporting.daily_metrics")[0]
    assert plain(monthly["data"]["points"][0], OUTCOMES) == whole


def test_no_requests_and_not_loaded_are_told_apart(platform: Platform, api: Api) -> None:
    days = f"from={FIRST - timedelta(days=1)}&to={FIRST}"
    [answer] = ask(api, f"/requests?{days}&event={ABSENT}")
    before, first = answer["data"]["points"]
    assert (before["state"], before["requests"]) == ("not_loaded", None)
    assert before["request_conversion"]["value"] is None
    assert (first["requests"], first["is_complete"]) == (0, True)
    assert answer["meta"]["missing"] == [str(FIRST - timedelta(days=1))]
    assert answer["meta"]["is_complete"] is False


def test_the_waterfall_is_that_of_the_finished_table_in_each_currency(
    platform: Platform, api: Api
) -> None:
    [answer] = ask(api, f"/revenue?{RANGE}")
    rows = platform.rows(
        f"SELECT currency, {sums(WATERFALL)} FROM reporting.daily_metrics GROUP BY 1 ORDER BY 1"
    )
    found = [
        {"currency": one["currency"]} | plain(one["totals"], WATERFALL) for one in answer["data"]
    ]
    assert found == rows
    assert len(rows) > 1, "one currency proves nothing"
    for one in answer["data"]:
        money = plain(one["totals"], WATERFALL)
        net = money["payments"] - money["refunds"] - money["chargebacks"]
        assert money["net_collected"] == net
        aov = one["totals"]["aov"]
        assert (aov["numerator"], aov["denominator"]) == (
            money["gross_revenue"],
            money["paid_orders"],
        )
        if money["paid_orders"]:
            assert (
                abs(aov["minor"] * money["paid_orders"] - money["gross_revenue"])
                <= money["paid_orders"]
            )
        assert set(answer["meta"]["currencies"]) >= {one["currency"]}
    assert str(RESTATED) in answer["meta"]["restated"]


@pytest.mark.parametrize("group", ["organizer", "event"])
@pytest.mark.parametrize("granularity", ["daily", "weekly", "monthly"])
def test_grouped_revenue_adds_up_and_its_pages_have_every_series_once(
    platform: Platform, api: Api, group: str, granularity: str
) -> None:
    table = {"daily": "daily_metrics", "weekly": "weekly_revenue", "monthly": "monthly_revenue"}
    path = f"/revenue?{RANGE}&group_by={group}&granularity={granularity}&limit=7"
    found: list[dict[str, Any]] = []
    offset: int | None = 0
    while offset is not None:
        [page] = ask(api, f"{path}&offset={offset}")
        found += page["data"]
        offset = page["meta"]["next_offset"]
        assert page["meta"]["series"] == 0 or len(found) <= page["meta"]["series"]
    key = f"{group}_id"
    rows = platform.rows(
        f"""SELECT {key}::text, currency, {sums(WATERFALL)} FROM reporting.{table[granularity]}
        GROUP BY 1, 2 ORDER BY currency, sum(gross_revenue) DESC, min({key})"""
    )
    assert [
        {key: one[key], "currency": one["currency"]} | plain(one["totals"], WATERFALL)
        for one in found
    ] == rows
    assert all(one[f"{group}_name"] for one in found)
    assert [one["rank"] for one in found] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("granularity", ["daily", "weekly", "monthly"])
def test_every_period_of_the_platform_and_of_an_organizer_is_the_sum_of_its_rows(
    platform: Platform, api: Api, granularity: str
) -> None:
    tables = {
        "daily": ("daily_metrics", "business_date"),
        "weekly": ("weekly_revenue", "week_start"),
        "monthly": ("monthly_revenue", "month_start"),
    }
    source, column = tables[granularity]
    for where, more in (
        ("true", ""),
        (f"organizer_id = {platform.organizer}", f"&organizer={platform.organizer}"),
        (f"event_id = {platform.event}", f"&event={platform.event}"),
    ):
        path = f"/revenue?{RANGE}&granularity={granularity}{more}"
        [answer, first_page, second_page] = ask(
            api, path, f"{path}&limit=1", f"{path}&limit=1&offset=1"
        )
        rows = platform.rows(
            f"""SELECT currency, {column}::text AS start, {sums(WATERFALL)}
            FROM reporting.{source} WHERE {where} GROUP BY 1, 2 ORDER BY 1, 2"""
        )
        found = [
            {"currency": one["currency"], "start": point["start"]} | plain(point, WATERFALL)
            for one in answer["data"]
            for point in one["points"]
            if point["state"] != "not_loaded"
        ]
        assert [row for row in found if any(row[name] for name in WATERFALL)] == [
            row for row in rows if any(row[name] for name in WATERFALL)
        ]
        assert answer["meta"]["series"] == len(answer["data"]) > 0
        assert first_page["data"] + second_page["data"] == answer["data"][:2]


def test_restated_days_are_those_of_who_is_asked_for(platform: Platform, api: Api) -> None:
    for group in ("none", "event", "payment_method"):
        path = f"/revenue?{RANGE}&group_by={group}&organizer="
        mine, other = ask(api, f"{path}{platform.organizer}", f"{path}{platform.other}")
        assert str(RESTATED) in mine["meta"]["restated"], group
        assert other["meta"]["restated"] == [], group


@pytest.mark.parametrize("granularity", ["daily", "weekly", "monthly"])
def test_payment_methods_add_up_to_the_source_and_know_incomplete_weeks(
    platform: Platform, api: Api, granularity: str
) -> None:
    # From Monday 9 February: the week of the 23rd and the month are not loaded to their end.
    path = f"/revenue?{RANGE}&group_by=payment_method&granularity={granularity}&limit=100"
    [answer] = ask(api, path)
    source = platform.source(
        """SELECT provider, instrument, currency, sum(amount_minor)::bigint AS payments
        FROM payments WHERE status = 'confirmed'
          AND (confirmed_at AT TIME ZONE 'Africa/Nairobi')::date BETWEEN %s AND %s
          AND order_id NOT IN (SELECT order_id FROM orders WHERE is_test)
        GROUP BY 1, 2, 3""",
        (FIRST, LAST),
    )

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["currency"], row["provider"], row["instrument"]

    found = {key(one): one["totals"]["payments"]["minor"] for one in answer["data"]}
    assert {k: v for k, v in found.items() if v} == {key(r): r["payments"] for r in source}
    last = answer["data"][0]["points"][-1]
    assert last["is_complete"] is (granularity == "daily")
    week = {"weekly": "2026-02-16", "monthly": "2026-02-01", "daily": str(RESTATED)}[granularity]
    missing = {
        "daily": [],
        "weekly": ["2026-02-27", "2026-02-28", "2026-03-01"],
        "monthly": [f"2026-02-{day:02d}" for day in (*range(1, 9), 27, 28)],
    }
    assert answer["meta"]["missing_days"] == missing[granularity]
    restated = [p["start"] for p in answer["data"][0]["points"] if p["is_restated"]]
    assert week in restated


def test_filters_leave_what_is_asked_for(platform: Platform, api: Api) -> None:
    of_event, of_organizer, absent, euro = ask(
        api,
        f"/revenue?{RANGE}&event={platform.event}",
        f"/revenue?{RANGE}&organizer={platform.organizer}&group_by=event&limit=100",
        f"/revenue?{RANGE}&organizer={ABSENT}",
        f"/revenue?{RANGE}&currency=KES",
    )
    row = platform.rows(
        "SELECT sum(gross_revenue)::bigint AS n FROM reporting.daily_metrics WHERE event_id = %s",
        (platform.event,),
    )[0]
    assert [one["totals"]["gross_revenue"]["minor"] for one in of_event["data"]] == [row["n"]]
    assert {int(one["event_id"]) for one in of_organizer["data"]} >= set(platform.events)
    assert {one["organizer_id"] for one in of_organizer["data"]} == {str(platform.organizer)}
    assert (absent["data"], absent["meta"]["missing"]) == ([], [])
    assert {one["currency"] for one in euro["data"]} == {"KES"}


def test_the_overview_compares_with_the_days_before(platform: Platform, api: Api) -> None:
    middle = date(2026, 2, 18)
    answer, fresh = ask(api, f"/overview?from={middle}&to={LAST}", "/overview")
    data = answer["data"]
    additive = tuple(n for n in METRICS if n in data["currencies"][0]["totals"])
    assert set(METRICS) - set(additive) == {"buyers"}, "distinct counts are not added up"
    for name, where in (("totals", ">="), ("previous", "<")):
        rows = platform.rows(
            f"""SELECT currency, {sums(additive)} FROM reporting.daily_metrics
            WHERE business_date {where} %s GROUP BY 1 ORDER BY 1""",
            (middle,),
        )
        assert [
            {"currency": one["currency"]} | plain(one[name], additive) for one in data["currencies"]
        ] == rows
    assert data["previous_range"] == {
        "from": str(FIRST), "to": str(middle - timedelta(days=1)), "missing": []
    }  # fmt: skip
    counted = platform.rows(
        """SELECT currency, count(DISTINCT event_id) FILTER (WHERE orders > 0) AS events_with_sales,
            count(DISTINCT organizer_id) FILTER (WHERE orders > 0) AS organizers_with_sales
        FROM reporting.daily_metrics WHERE business_date >= %s GROUP BY 1 ORDER BY 1""",
        (middle,),
    )
    assert [{name: one[name] for name in counted[0]} for one in data["currencies"]] == counted
    leaders = platform.rows(
        """SELECT organizer_id::text AS organizer_id, sum(gross_revenue)::bigint AS n
        FROM reporting.daily_metrics WHERE currency = 'KES' AND business_date >= %s
        GROUP BY 1 HAVING sum(gross_revenue) > 0 ORDER BY n DESC LIMIT 5""",
        (middle,),
    )
    assert [
        {"organizer_id": one["organizer_id"], "n": one["gross_revenue"]["minor"]}
        for one in data["top_organizers"]
        if one["currency"] == "KES"
    ] == leaders
    states = platform.rows("SELECT status, count(*) AS n FROM reporting.event_summary GROUP BY 1")
    assert data["events"]["by_status"] == {row["status"]: row["n"] for row in states}
    best = platform.rows(
        """SELECT event_id::text AS event_id, sum(gross_revenue)::bigint AS n
        FROM reporting.daily_metrics WHERE currency = 'KES' AND business_date >= %s
        GROUP BY 1 ORDER BY n DESC LIMIT 5""",
        (middle,),
    )
    shown = [one for one in data["top_events"] if one["currency"] == "KES"]
    assert [(o["event_id"], o["gross_revenue"]["minor"]) for o in shown] == [
        (row["event_id"], row["n"]) for row in best if row["n"] > 0
    ]
    # Without days: the last complete ones, most of which were never loaded, and it says so.
    assert fresh["data"]["range"]["to"] == fresh["meta"]["complete_through"]
    assert fresh["data"]["range"]["days"] == 30
    assert len(fresh["meta"]["missing"]) > 0
    assert len(fresh["data"]["previous_range"]["missing"]) == 30
    previous = fresh["data"]["currencies"][0]["previous"]
    assert (previous["orders"], previous["gross_revenue"], previous["aov"]) == (None, None, None)


def test_the_same_rows_come_as_csv_with_decimals_and_minor_units(
    platform: Platform, api: Api
) -> None:
    path = f"/revenue?{RANGE}&group_by=organizer"
    [json_answer] = ask(api, path)
    headers = api.client.as_() | {"Accept": "text/csv"}
    rows = list(csv.DictReader(io.StringIO(api.call("GET", BASE + path, headers=headers).text)))
    points = [point for one in json_answer["data"] for point in one["points"]]
    assert len(rows) == len(points)
    for row, point in zip(rows, points, strict=True):
        for name in WATERFALL:
            if METRICS[name].unit == MONEY:
                assert row[f"{name}_minor"] == str(point[name]["minor"])
                assert row[name] == point[name]["decimal"]
        aov = point["aov"]
        shown = (aov["decimal"], aov["minor"], aov["numerator"], aov["denominator"])
        columns = ("aov", "aov_minor", "aov_numerator_minor", "aov_denominator")
        assert [row[name] for name in columns] == [
            "" if value is None else str(value) for value in shown
        ]


PATHS = ("/overview", f"/requests?{RANGE}", f"/revenue?{RANGE}")


def test_only_those_who_see_every_organizer_are_answered(platform: Platform, api: Api) -> None:
    for path in PATHS:
        for role, organizer, status in (
            (Role.ADMIN, None, 200),
            (Role.SUPER_ADMIN, None, 200),
            (Role.VIEWER, None, 200),
            (Role.VIEWER, platform.organizer, 403),
            (Role.ORGANIZER, platform.organizer, 403),
        ):
            headers = api.client.as_(role, organizer)
            assert api.call("GET", BASE + path, headers=headers).status_code == status
        assert api.call("GET", BASE + path, headers={}).status_code == 401


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/requests", "query.from"),
        (f"/requests?{RANGE}&granularity=hourly", "query.granularity"),
        (f"/requests?from={LAST}&to={FIRST}", "query.to"),
        (f"/revenue?{RANGE}&group_by=city", "query.group_by"),
        (f"/revenue?{RANGE}&currency=kes", "query.currency"),
        (f"/revenue?{RANGE}&colour=red", "query.colour"),
        ("/revenue?from=2024-01-01&to=2026-02-01&group_by=event", "query.limit"),
        ("/overview?from=2026-02-10&to=2026-02-09", "query.to"),
        ("/overview?to=0001-01-02", "query.to"),
        ("/revenue?from=9999-12-01&to=9999-12-31&granularity=monthly", "query.from"),
        ("/requests?from=2026-02-01&to=9999-12-31&granularity=weekly", "query.to"),
    ],
)
def test_what_is_wrong_is_named(api: Api, path: str, field: str) -> None:
    response = api.call("GET", BASE + path)
    assert response.status_code == 422, response.text
    assert field in {error["field"] for error in response.json()["errors"]}


def test_the_examples_have_the_members_of_real_answers(api: Api) -> None:
    document = api.client.app.openapi()
    for path, answer in zip(PATHS, ask(api, *PATHS), strict=True):
        example = example_of(document, "get", BASE + path.split("?", maxsplit=1)[0])
        assert differences(example, answer, free=("by_status", "currencies")) == []
