"""Organizers' analytics: figures of the source, equal elapsed time, and nobody else's numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Any

import psycopg
import pytest

from api.periods import Periods
from api.publications import Partition, Shelf
from api.routes import organizer_analytics
from api.routes.organizer_metrics import FLOW, SALES, SHOWN
from api.routes.organizer_shared import Windows, compared, runs_of
from api.statements import statement
from api.written import by_currency
from exports.masking import Role
from metrics.datasets import DATASETS, EVENT_SUMMARY
from metrics.registry import METRICS, MONEY, terms
from pipelines.settings import Settings
from tests.api_client import MINE, MY_EVENT, Client, api_settings, fill, until
from tests.api_platform import (
    ABSENT,
    FIRST,
    LAST,
    RESTATED,
    TIME_ZONE,
    Platform,
    published_platform,
)
from tests.api_shapes import Api, differences, example_of, serving
from tests.deployment import Deployment

BASE = "/api/organizer/analytics"
DAY = timedelta(days=1)
FROM, TO = date(2026, 2, 20), LAST
"""Seven days, of which the last is still open: compared are six."""


@pytest.fixture(scope="module")
def platform(
    make_deployment: Callable[..., Deployment], role_url: Callable[[str, str], str]
) -> Platform:
    return published_platform(make_deployment, role_url)


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Api]:
    with serving(platform.settings, *organizer_analytics.ROUTERS) as found:
        yield found


@pytest.fixture
def ask(api: Api, platform: Platform) -> Callable[..., Any]:
    """Answers of calls of the organizer."""
    own = api.client.as_(Role.ORGANIZER, platform.organizer)

    def get(path: str, **headers: str) -> Any:
        response = api.call("GET", BASE + path, headers=own | headers)
        assert response.status_code == 200, response.text
        return response.json() if "Accept" not in headers else response.text

    return get


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Metrics as the tables have them: money in minor units."""
    return {n: v["minor"] if isinstance(v, dict) else v for n, v in values.items() if n in METRICS}


def of_source(platform: Platform, first: date, last: date, by: str) -> dict[Any, dict[str, int]]:
    """What the platform itself says, by event or by event and day; in plain SQL."""
    facts = {
        "orders": "SELECT event_id, completed_at AS at, 1 AS value FROM orders WHERE NOT is_test",
        "gross_revenue": """SELECT event_id, completed_at AS at, total_minor AS value
            FROM orders WHERE NOT is_test""",
        "tickets_sold": """SELECT t.event_id, o.completed_at AS at, 1 AS value
            FROM tickets AS t JOIN orders AS o USING (order_id)
            JOIN ticket_types AS y USING (ticket_type_id)
            WHERE NOT o.is_test AND y.kind = 'admission'""",
        "payments": """SELECT p.event_id, confirmed_at AS at, amount_minor AS value
            FROM payments AS p JOIN orders AS o USING (order_id) WHERE NOT o.is_test""",
        "refunds": """SELECT r.event_id, succeeded_at AS at, amount_minor AS value
            FROM refunds AS r JOIN orders AS o USING (order_id) WHERE NOT o.is_test""",
    }
    found: dict[Any, dict[str, int]] = {}
    for name, query in facts.items():
        rows = platform.source(
            f"""SELECT event_id, day, sum(value)::bigint AS value FROM (
                SELECT event_id, (at AT TIME ZONE '{TIME_ZONE}')::date AS day, value
                FROM ({query}) AS f) AS d
            WHERE day BETWEEN %s AND %s GROUP BY event_id, day""",
            [first, last],
        )
        for row in rows:
            key = row["event_id"] if by == "event" else (row["event_id"], row["day"])
            own = found.setdefault(key, dict.fromkeys(facts, 0))
            own[name] += row["value"]
    return found


def sum_of(rows: list[dict[str, int]], name: str) -> int:
    return sum(row[name] for row in rows)


# --- Equal elapsed time -------------------------------------------------------------------------


def shelf(complete: list[str], opened: list[str]) -> Shelf:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    parts = {key: Partition(key in complete, False, now) for key in (*complete, *opened)}
    return Shelf(None, parts, None, now, frozenset())


def test_windows_are_compared_on_days_that_are_complete_on_both_sides() -> None:
    days = [f"2026-02-{day:02d}" for day in (1, 2, 4, 5, 6, 7)]
    found = compared(shelf(days, ["2026-02-08"]), date(2026, 2, 5), date(2026, 2, 8))
    previous = found["previous_period"]
    assert previous.back == 4 * DAY
    # The 3rd is not loaded, so that the 7th has no counterpart; the 8th is still open.
    assert previous.current == ((date(2026, 2, 5), date(2026, 2, 6)),)
    assert previous.earlier == ((date(2026, 2, 1), date(2026, 2, 2)),)
    assert previous.shown()["days_compared"] == 2
    assert found["year_before"].days == ()


def test_days_of_windows_that_overlap_are_read_once() -> None:
    first, last = date(2026, 1, 1), date(2027, 3, 1)
    days = [str(date(2023, 1, 1) + n * DAY) for n in range((last - date(2023, 1, 1)).days + 1)]
    windows = Windows(shelf(days, []), first, last)
    read = windows.parameters
    runs = list(zip(read["numbers"], read["firsts"], read["lasts"], strict=True))
    seen = [run[1] + n * DAY for run in runs for n in range((run[2] - run[1]).days + 1)]
    assert len(seen) == len(set(seen))
    one_a_day = [
        {"number": number, "orders": (until - since).days + 1} for number, since, until in runs
    ]
    length = (last - first).days + 1
    assert windows.total(one_a_day, ["orders"]) == {"orders": length}
    for found in windows.comparisons(one_a_day, ["orders"], "KES").values():
        assert (found["orders"]["current"], found["orders"]["earlier"]) == (length, length)


def test_runs_are_of_neighbouring_days() -> None:
    first = date(2026, 2, 27)
    days = [first, first + DAY, first + 2 * DAY, first + 5 * DAY]
    assert runs_of(days) == ((first, date(2026, 3, 1)), (date(2026, 3, 4), date(2026, 3, 4)))
    assert runs_of([]) == ()


# --- Figures ------------------------------------------------------------------------------------


def test_the_sales_chart_has_the_figures_of_the_source(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    source = of_source(platform, FIRST, LAST, "day")
    answer = ask(f"/sales-chart/{platform.event}?from={FROM}&to={TO}")
    [line] = answer["data"]["series"]
    names = ("orders", "gross_revenue", "tickets_sold")
    for name in names:
        days = [source.get((platform.event, FIRST + n * DAY), {}).get(name, 0) for n in range(18)]
        so_far = list(accumulate(days))
        outside = (FROM - FIRST).days
        assert [plain(point)[name] for point in line["points"]] == days[outside:]
        assert [plain(p["cumulative"])[name] for p in line["points"]] == so_far[outside:]
        assert plain(line["before"])[name] == so_far[outside - 1] > 0
        assert plain(line["totals"])[name] == sum(days[outside:]) > 0


def test_weeks_and_months_of_the_sales_chart_are_sums_of_its_days(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    chart = f"/sales-chart/{platform.event}"
    [daily] = ask(f"{chart}?from={FIRST}&to={LAST}")["data"]["series"]
    for granularity, label, count in (("weekly", "2026-W08", 3), ("monthly", "2026-02", 1)):
        answer = ask(f"{chart}?granularity={granularity}")
        [line] = answer["data"]["series"]
        assert line["totals"] == daily["totals"]
        assert len(line["points"]) == count
        assert label in [point["period"] for point in line["points"]]
        assert line["points"][-1]["cumulative"] == daily["points"][-1]["cumulative"]
        assert not line["points"][-1]["is_complete"]


@pytest.mark.parametrize("granularity", ["daily", "weekly", "monthly"])
def test_ticket_types_have_the_figures_of_the_source(
    platform: Platform, ask: Callable[..., Any], granularity: str
) -> None:
    chart = f"/sales-chart/{platform.event}?granularity={granularity}"
    answer = ask(f"{chart}&by=ticket_type&from={FIRST}&to={LAST}")
    source = platform.source(
        f"""SELECT y.ticket_type_id, y.name, count(*) FILTER (WHERE y.kind = 'admission') AS sold,
            sum(t.charged_minor)::bigint AS charged
        FROM tickets AS t JOIN orders AS o USING (order_id) JOIN ticket_types AS y
            USING (ticket_type_id)
        WHERE NOT o.is_test AND t.event_id = %s
          AND (o.completed_at AT TIME ZONE '{TIME_ZONE}')::date BETWEEN %s AND %s
        GROUP BY 1, 2""",
        [platform.event, FIRST, LAST],
    )
    lines = {line["ticket_type_id"]: line for line in answer["data"]["series"]}
    assert len(lines) == len(source) > 1
    for row in source:
        line = lines[str(row["ticket_type_id"])]
        assert line["ticket_type_name"] == row["name"]
        assert line["totals"]["tickets_sold"] == row["sold"]
        assert line["points"][-1]["cumulative"]["tickets_sold"] == row["sold"]
    [total] = ask(f"{chart}&from={FIRST}&to={LAST}")["data"]["series"]
    sold = [
        sum(p["tickets_sold"] for p in of)
        for of in zip(*[x["points"] for x in lines.values()], strict=True)
    ]
    assert sold == [point["tickets_sold"] for point in total["points"]]


def test_no_sales_and_not_loaded_are_told_apart(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    late = next(n for n in platform.events if _first_sale(platform, n) > FIRST + 3 * DAY)
    before, after = FIRST - 2 * DAY, LAST + 2 * DAY
    answer = ask(f"/sales-chart/{late}?from={before}&to={after}")
    [line] = answer["data"]["series"]
    points = {point["period"]: point for point in line["points"]}
    for day in (before, after):
        point = points[str(day)]
        assert (point["state"], point["gross_revenue"]) == ("not_loaded", None)
        assert point["cumulative"]["orders"] is None
    assert points[str(FIRST)]["orders"] == 0
    assert points[str(FIRST)]["gross_revenue"] == {
        "minor": 0,
        "decimal": points[str(FIRST)]["gross_revenue"]["decimal"],
    }
    assert (points[str(LAST)]["state"], points[str(LAST)]["is_complete"]) == ("open", False)
    assert answer["meta"]["missing"] == [
        *(str(before + n * DAY) for n in range(2)),
        *(str(LAST + n * DAY) for n in (1, 2)),
    ]
    assert answer["meta"]["complete_through"] == str(LAST - DAY)
    assert not answer["meta"]["is_complete"]


def _first_sale(platform: Platform, event: int) -> date:
    query = "SELECT first_sale_date AS day FROM reporting.event_summary WHERE event_id = %s"
    found: date = platform.rows(query, [event])[0]["day"]
    return found


def test_sums_since_sales_began_say_when_days_of_them_are_not_loaded(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    opened = platform.rows(
        f"""SELECT event_id, (on_sale_at AT TIME ZONE '{TIME_ZONE}')::date AS day
        FROM reporting.event_summary WHERE organizer_id = %s""",
        [platform.organizer],
    )
    days = {row["event_id"]: row["day"] for row in opened}
    assert min(days.values()) < FIRST < max(days.values())
    for event in (min(days, key=days.__getitem__), max(days, key=days.__getitem__)):
        [line] = ask(f"/sales-chart/{event}?from={FROM}&to={TO}")["data"]["series"]
        is_whole = days[event] >= FIRST
        assert all(point["is_cumulative_complete"] == is_whole for point in line["points"])


def test_a_hole_between_days_is_neither_zero_nor_hidden(
    make_settings: Callable[..., Settings],
    fresh_database: Callable[..., str],
    role_url: Callable[[str, str], str],
) -> None:
    settings = api_settings(make_settings, fresh_database, role_url)
    with serving(settings, *organizer_analytics.ROUTERS) as found:
        own = found.client.as_(Role.ORGANIZER, MINE)

        def get(path: str) -> Any:
            return found.call("GET", BASE + path, headers=own)

        # Before anything is published there is nothing, and that is said.
        empty = get("/dashboard-overview").json()
        assert (empty["data"]["revenue"], empty["data"]["events"]["total"]) == ([], 0)
        assert empty["data"]["tickets"]["metrics"]["orders"] is None
        assert empty["meta"]["complete_through"] is None
        assert len(empty["meta"]["missing"]) == 30
        assert get(f"/sales-chart/{MY_EVENT}").status_code == 404

        fill(settings)  # 1 to 5 March: the 2nd without a sale, the 4th missing, the 5th open
        found.run(lambda client: until(lambda: _is_shown(client)))
        [line] = get(f"/sales-chart/{MY_EVENT}?from=2026-03-01&to=2026-03-05").json()["data"][
            "series"
        ]
        gross = [plain(point)["gross_revenue"] for point in line["points"]]
        assert gross == [100, 0, 300, None, 500]
        states = [point["state"] for point in line["points"]]
        assert states == ["provisional", "provisional", "provisional", "not_loaded", "open"]
        so_far = [plain(point["cumulative"])["gross_revenue"] for point in line["points"]]
        assert so_far == [100, 100, 400, None, 900]
        trends = get("/revenue-trends?from=2026-03-03&to=2026-03-05").json()
        assert trends["meta"]["missing"] == ["2026-03-04"]
        [total] = trends["data"]["totals"]
        assert total["metrics"]["gross_revenue"]["minor"] == 800
        # Of three days one is missing, one open, and before the third nothing was published.
        assert trends["data"]["compared"]["previous_period"]["days_compared"] == 0
        trends = get("/revenue-trends?from=2026-03-03&to=2026-03-04").json()
        [total] = trends["data"]["totals"]
        compared_gross = total["comparison"]["previous_period"]["gross_revenue"]
        assert compared_gross["current"]["minor"] == 300
        assert compared_gross["earlier"]["minor"] == 100
        assert compared_gross["change_ratio"] == "2.000000"


async def _is_shown(client: Client) -> bool:
    path = f"{BASE}/events/{MY_EVENT}/summary"
    response = await client.get(path, headers=client.as_(Role.ORGANIZER, MINE))
    return response.status_code == 200


def test_the_waterfall_adds_up_and_has_the_figures_of_the_source(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    answer = ask(f"/revenue-overview/{platform.event}")
    [own] = answer["data"]["currencies"]
    steps = {step["step"]: step["amount"]["minor"] for step in own["waterfall"]}
    running = 0
    for step in own["waterfall"]:
        amount = step["amount"]["minor"]
        if step["kind"] == "total":
            assert running == amount, step
        else:
            running += -amount if step["kind"] == "minus" else amount
    source = of_source(platform, FIRST, LAST, "event")[platform.event]
    assert steps["gross_revenue"] == source["gross_revenue"] > 0
    assert own["refunds"]["refunds"]["minor"] == source["refunds"] > 0
    assert steps["net_collected"] == source["payments"] - source["refunds"]
    assert own["counts"]["orders"] == source["orders"]
    aov = own["ratios"]["aov"]
    assert aov["minor"] == round(source["gross_revenue"] / own["counts"]["paid_orders"])
    assert (aov["numerator"], aov["denominator"]) == (
        source["gross_revenue"],
        own["counts"]["paid_orders"],
    )
    assert answer["meta"]["restated"] == [str(RESTATED)]


def test_payment_methods_have_the_figures_of_the_source(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    [own] = ask(f"/revenue-overview/{platform.event}?from={FROM}&to={TO}")["data"]["currencies"]
    source = platform.source(
        f"""SELECT provider, instrument, count(*) AS payments_count,
            sum(amount_minor)::bigint AS payments
        FROM payments JOIN orders USING (order_id)
        WHERE NOT orders.is_test AND payments.event_id = %s
          AND (confirmed_at AT TIME ZONE '{TIME_ZONE}')::date BETWEEN %s AND %s
        GROUP BY provider, instrument ORDER BY provider, instrument""",
        [platform.event, FROM, TO],
    )
    paid = [one for one in own["payment_methods"] if one["payments_count"]]
    assert [
        (m["provider"], m["instrument"], m["payments_count"], m["payments"]["minor"]) for m in paid
    ] == [tuple(row.values()) for row in source]
    assert len(source) > 3
    assert sum(float(m["share_of_payments"]) for m in paid) == pytest.approx(1, abs=1e-5)


def test_the_dashboard_has_the_figures_of_the_source_on_equal_elapsed_time(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    answer = ask(f"/dashboard-overview?from={FROM}&to={TO}&recent_days=3")
    data = answer["data"]
    assert data["as_of"]["day"] == str(LAST)
    assert (data["as_of"]["state"], data["as_of"]["complete_through"]) == ("open", str(LAST - DAY))
    now = of_source(platform, FROM, TO, "event")
    elapsed = of_source(platform, FROM, TO - DAY, "event")
    earlier = of_source(platform, FROM - 7 * DAY, TO - 8 * DAY, "event")
    currencies = _currencies(platform)
    assert [one["currency"] for one in data["revenue"]] == sorted(set(currencies.values()))
    assert len(data["revenue"]) > 1
    for one in data["revenue"]:
        events = [n for n, currency in currencies.items() if currency == one["currency"]]
        for name in ("gross_revenue", "payments", "refunds"):
            of = [{n: side[n] for n in events if n in side} for side in (now, elapsed, earlier)]
            total, current, then = (sum_of(list(side.values()), name) for side in of)
            assert one["metrics"][name]["minor"] == total
            found = one["comparison"]["previous_period"][name]
            assert found["current"]["minor"] == current
            assert found["earlier"]["minor"] == then
            assert found["change"]["minor"] == current - then
        # Nothing was published a year before: that is not zero.
        assert one["comparison"]["year_before"]["gross_revenue"]["earlier"] is None
    mine = [values for number, values in now.items() if number in currencies]
    assert data["tickets"]["metrics"]["orders"] == sum_of(mine, "orders") > 0
    assert data["tickets"]["metrics"]["tickets_sold"] == sum_of(mine, "tickets_sold")
    assert data["compared"]["previous_period"]["days_compared"] == 6
    assert data["compared"]["previous_period"]["current_days"][0]["to"] == str(TO - DAY)
    for line in data["recent_sales"]:
        assert [point["period"] for point in line["points"]] == [
            str(LAST - n * DAY) for n in (2, 1, 0)
        ]
    orders = sum(point["orders"] for line in data["recent_sales"] for point in line["points"])
    assert orders == sum_of(
        [
            v
            for n, v in of_source(platform, LAST - 2 * DAY, LAST, "event").items()
            if n in currencies
        ],
        "orders",
    )


def _currencies(platform: Platform) -> dict[int, str]:
    query = "SELECT event_id, currency FROM events WHERE organizer_id = %s"
    return {
        row["event_id"]: row["currency"] for row in platform.source(query, [platform.organizer])
    }


def test_the_dashboard_lists_what_is_to_come_with_its_sell_through(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    data = ask("/dashboard-overview")["data"]
    source = platform.source(
        """SELECT event_id, capacity, (SELECT count(*) FROM tickets AS t
                JOIN orders AS o USING (order_id) JOIN ticket_types AS y USING (ticket_type_id)
                WHERE t.event_id = e.event_id AND NOT o.is_test AND y.kind = 'admission'
                  AND o.completed_at >= %(first)s AND o.completed_at < %(end)s) AS sold
        FROM events AS e
        WHERE organizer_id = %(organizer)s AND status IN ('on_sale', 'sold_out')
          AND starts_at >= %(last)s
        ORDER BY starts_at""",
        {
            "organizer": platform.organizer,
            "first": f"{FIRST} 00:00+03",
            "last": f"{LAST} 00:00+03",
            "end": f"{LAST + DAY} 00:00+03",
        },
    )
    found = data["upcoming_events"]
    assert [int(event["event_id"]) for event in found] == [row["event_id"] for row in source]
    assert data["events"]["upcoming"] == len(source) > 1
    assert sum(data["events"]["by_status"].values()) == data["events"]["total"] == 5
    for event, row in zip(found, source, strict=True):
        assert event["tickets_sold"] == row["sold"]
        through = event["sell_through"]
        assert through["denominator"] == row["capacity"]
        assert through["numerator"] == row["sold"] - event["tickets_cancelled"]
    cut = ask("/dashboard-overview?upcoming=1")["data"]
    assert (len(cut["upcoming_events"]), cut["events"]["upcoming"]) == (1, len(source))


def test_trends_add_up_by_event_by_currency_and_by_period(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    found = platform.rows(
        f"""SELECT currency, {", ".join(f"sum({n})::bigint AS {n}" for n in SHOWN)}
        FROM reporting.daily_metrics WHERE organizer_id = %s AND business_date BETWEEN %s AND %s
        GROUP BY currency ORDER BY currency""",
        [platform.organizer, FIRST, LAST],
    )
    tables = {row.pop("currency"): row for row in found}
    for granularity in ("daily", "weekly", "monthly"):
        data = ask(f"/revenue-trends?from={FIRST}&to={LAST}&granularity={granularity}")["data"]
        totals = {one["currency"]: plain(one["metrics"]) for one in data["totals"]}
        assert totals == tables
        assert {line["currency"]: plain(line["totals"]) for line in data["series"]} == tables
        for currency, expected in tables.items():
            own = [one for one in data["events"] if one["currency"] == currency]
            for name in SHOWN:
                assert sum(plain(one["metrics"])[name] for one in own) == expected[name]


def test_trends_of_some_events_are_theirs_alone_on_equal_elapsed_time(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    event = platform.event
    data = ask(f"/revenue-trends?events={event}&from={FROM}&to={TO}")["data"]
    [total] = data["totals"]
    assert [one["event_id"] for one in data["events"]] == [str(event)]
    current = of_source(platform, FROM, TO - DAY, "event")[event]
    earlier = of_source(platform, FROM - 7 * DAY, TO - 8 * DAY, "event")[event]
    for found in (total["comparison"], data["events"][0]["comparison"]):
        gross = found["previous_period"]["gross_revenue"]
        assert gross["current"]["minor"] == current["gross_revenue"]
        assert gross["earlier"]["minor"] == earlier["gross_revenue"] > 0
        change = current["gross_revenue"] / earlier["gross_revenue"] - 1
        assert float(gross["change_ratio"]) == pytest.approx(change, abs=1e-6)


def test_a_summary_has_every_metric_of_the_event(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    data = ask(f"/events/{platform.event}/summary")["data"]
    names = ", ".join(EVENT_SUMMARY.metric_names)
    row = platform.rows(
        f"SELECT {names} FROM reporting.event_summary WHERE event_id = %s", [platform.event]
    )[0]
    assert plain(data["metrics"]) == row
    source = of_source(platform, FIRST, LAST, "event")[platform.event]
    assert {name: plain(data["metrics"])[name] for name in source} == source
    assert data["event"]["event_id"] == str(platform.event)
    assert data["ratios"]["request_conversion"]["numerator"] == source["orders"]


def test_events_are_compared_after_the_same_number_of_days_on_sale(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    opened = {
        row["event_id"]: row["day"]
        for row in platform.rows(
            f"""SELECT event_id, (on_sale_at AT TIME ZONE '{TIME_ZONE}')::date AS day
            FROM reporting.event_summary WHERE organizer_id = %s""",
            [platform.organizer],
        )
    }
    new = max(opened, key=opened.__getitem__)
    old = min(opened, key=opened.__getitem__)
    data = ask(f"/events/compare?events={old},{new}")["data"]
    days = (LAST - DAY - opened[new]).days + 1
    assert data["days_on_sale_compared"] == days > 0
    first, second = data["events"]
    assert [first["event"]["event_id"], second["event"]["event_id"]] == [str(old), str(new)]
    # The old event's first days were before the first published day: not zero, but not loaded.
    assert first["at_equal_time"]["missing"][0] == str(opened[old])
    assert first["at_equal_time"]["metrics"]["orders"] is None
    early = second["at_equal_time"]
    source = of_source(platform, opened[new], LAST - DAY, "event")[new]
    assert (early["from"], early["is_complete"]) == (str(opened[new]), True)
    assert plain(early["metrics"])["gross_revenue"] == source["gross_revenue"] > 0


# --- The number passport ------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_value_of_a_row_has_a_passport(
    platform: Platform, ask: Callable[..., Any], dataset: str
) -> None:
    declared = DATASETS[dataset]
    period = declared.grain[0].name
    row = platform.rows(
        f"""SELECT * FROM reporting.{dataset} WHERE event_id = %s
        ORDER BY {declared.metric_names[0]} DESC, {period} LIMIT 1""",
        [platform.event],
    )[0]
    names = {"ticket_type_id": "ticket_type"}
    scope = "".join(f"&{names.get(c.name, c.name)}={row[c.name]}" for c in declared.scope)
    day = (
        ""
        if declared.period == "all"
        else f"&day={row[period] + DAY * (period != 'business_date')}"
    )
    for name in declared.metric_names[:: 1 if len(declared.metric_names) < 12 else 4]:
        data = ask(
            f"/explain/{dataset}/{platform.event}/{name}?currency={row['currency']}{day}{scope}"
        )["data"]
        value = data["value"]
        assert (value["minor"] if METRICS[name].unit == MONEY else value) == row[name]
        parts = {part["metric"]: part for part in data["parts"]}
        if set(terms(METRICS[name])) <= set(declared.metric_names) and parts:
            shown = [(p["sign"], p["value"]) for p in parts.values()]
            amounts = [s * (v["minor"] if isinstance(v, dict) else v) for s, v in shown]
            assert sum(amounts) == row[name]
        if data["days"] is not None:
            assert data["days"]["difference"] in (0, {"minor": 0, "decimal": "0"})
            assert len(data["days"]["rows"]) > 1
        assert data["version"]["publication_id"]
        assert data["audits"]
        assert "inputs" not in data  # they count rows of all organizers


def test_a_passport_tells_how_often_a_value_was_restated(
    platform: Platform, api: Api, ask: Callable[..., Any]
) -> None:
    path = f"/explain/daily_metrics/{platform.event}/refunds?day={RESTATED}"
    data = ask(path)["data"]
    [restated] = data["restatements"]
    assert restated["new_value"] == data["value"]
    assert restated["new_value"]["minor"] - restated["old_value"]["minor"] == 12300
    assert [version["publication_id"] for version in data["versions"]] == [
        restated["publication_id"],
        restated["replaced_publication_id"],
    ]
    assert data["versions_total"] == 2
    for role in (Role.ADMIN, Role.SUPER_ADMIN):
        everything = api.call("GET", BASE + path, headers=api.client.as_(role)).json()["data"]
        assert {name: everything[name] for name in data} == data
        assert "refunds" in [row["fact"] for row in everything["inputs"]]
        command = everything["all_movements"]["command"]
        assert command == (
            f"boxoffice explain daily_metrics --event {platform.event} --metric refunds"
            f" --day {RESTATED} --currency {data['cell']['currency']}"
        )


def test_a_value_that_is_not_loaded_is_not_zero(
    platform: Platform, ask: Callable[..., Any]
) -> None:
    day = LAST + 9 * DAY
    data = ask(f"/explain/daily_metrics/{platform.event}/orders?day={day}")["data"]
    assert (data["value"], data["state"], data["version"]) == (None, "not_loaded", None)
    data = ask(f"/explain/daily_payments/{platform.event}/payments?day={LAST}&provider=none")[
        "data"
    ]
    assert (data["value"]["minor"], data["rows"]) == (0, 0)
    assert "is 0" in data["notes"][0]


# --- Whose --------------------------------------------------------------------------------------

OF_EVENT = (
    "/sales-chart/{}",
    "/sales-chart/{}?by=ticket_type&granularity=weekly",
    f"/sales-chart/{{}}?from={FROM}&to={TO}",
    "/revenue-overview/{}",
    "/events/{}/summary",
    "/events/compare?events={},{}",
    "/revenue-trends?events={}",
    f"/explain/daily_metrics/{{}}/orders?day={FROM}",
)
OF_ORGANIZER = ("/dashboard-overview", "/revenue-trends")
VOLATILE = {"x-request-id", "ratelimit-remaining", "ratelimit-reset", "date"}


def _path(platform: Platform, template: str, event: int) -> str:
    return template.format(*[event, platform.event][: template.count("{}")][::-1])


@pytest.mark.parametrize("template", OF_EVENT)
def test_a_foreign_and_an_absent_event_are_the_same(
    platform: Platform, api: Api, template: str
) -> None:
    own = api.client.as_(Role.ORGANIZER, platform.organizer)
    viewer = api.client.as_(Role.VIEWER, platform.organizer)
    for caller in (own, viewer):
        answers = [
            api.call("GET", BASE + _path(platform, template, event), headers=caller)
            for event in (platform.foreign_event, ABSENT)
        ]
        foreign, absent = (
            (
                answer.status_code,
                {name: v for name, v in answer.headers.items() if name not in VOLATILE},
                {name: v for name, v in answer.json().items() if name != "request_id"},
            )
            for answer in answers
        )
        assert foreign == absent
        assert foreign[0] == 404


@pytest.mark.parametrize("template", [*OF_EVENT, *OF_ORGANIZER])
def test_every_role_sees_what_the_policy_says(platform: Platform, api: Api, template: str) -> None:
    event = platform.events[1] if "compare" in template else platform.event
    path = BASE + _path(platform, template, event)
    more = "&" if "?" in path else "?"
    as_ = api.client.as_

    def status(path: str, *who: Any) -> int:
        headers = as_(*who) if who else {}
        return api.call("GET", path, headers=headers).status_code

    assert status(path) == 401
    assert status(path, Role.ORGANIZER, platform.organizer) == 200
    assert status(path, Role.VIEWER, platform.organizer) == 200
    foreign = 200 if template in OF_ORGANIZER else 404
    assert status(path, Role.ORGANIZER, platform.other) == foreign
    named = {
        who: f"{path}{more}organizer={who}" for who in (platform.organizer, platform.other, ABSENT)
    }
    for number in (platform.other, ABSENT):
        assert status(named[number], Role.ORGANIZER, platform.organizer) == 404
    assert status(named[platform.organizer], Role.ORGANIZER, platform.organizer) == 200
    needs_name = template in OF_ORGANIZER or "trends" in template
    for role in (Role.ADMIN, Role.SUPER_ADMIN, Role.VIEWER):
        assert status(path, role) == (422 if needs_name else 200)
        assert status(named[platform.organizer], role) == 200
        assert status(named[ABSENT], role) == 404
        assert status(named[platform.other], role) == (200 if template in OF_ORGANIZER else 404)


def test_an_admin_sees_of_an_organizer_what_they_see(platform: Platform, api: Api) -> None:
    own = api.client.as_(Role.ORGANIZER, platform.organizer)
    for path in (*OF_ORGANIZER, f"/revenue-overview/{platform.event}"):
        mine = api.call("GET", BASE + path, headers=own).json()
        named = f"{BASE}{path}?organizer={platform.organizer}"
        theirs = api.call("GET", named, headers=api.client.as_(Role.ADMIN)).json()
        assert mine == theirs


# --- Answers ------------------------------------------------------------------------------------


def _paths(platform: Platform) -> dict[str, str]:
    """A call of every endpoint, by its path in the documentation."""
    some = ",".join(map(str, platform.events[:2]))
    return {
        "/dashboard-overview": f"/dashboard-overview?from={FROM}&to={TO}",
        "/revenue-trends": f"/revenue-trends?from={FROM}&to={TO}",
        "/events/{event}/summary": f"/events/{platform.event}/summary",
        "/events/compare": f"/events/compare?events={some}",
        "/sales-chart/{event}": f"/sales-chart/{platform.event}?from={FROM}&to={TO}",
        "/revenue-overview/{event}": f"/revenue-overview/{platform.event}?from={FROM}&to={TO}",
        "/explain/{dataset}/{event}/{metric}": (
            f"/explain/daily_metrics/{platform.event}/refunds?day={RESTATED}"
        ),
    }


def test_the_examples_have_the_members_of_real_answers(
    platform: Platform, api: Api, ask: Callable[..., Any]
) -> None:
    document = api.client.app.openapi()
    paths = _paths(platform)
    assert set(paths) == {
        path.removeprefix(BASE)
        for path in document["paths"]
        if path.startswith(BASE) and "export" not in path
    }
    for path, call in paths.items():
        example = example_of(document, "get", BASE + path)
        found = differences(example, ask(call), free=("by_status", "currencies", "ratios"))
        assert found == [], path


def test_answers_come_as_tables_too(platform: Platform, ask: Callable[..., Any]) -> None:
    for path, call in _paths(platform).items():
        if path.startswith("/explain"):
            continue
        rows = list(csv.DictReader(io.StringIO(ask(call, Accept="text/csv"))))
        assert rows, path
        assert any(name.endswith("_minor") for name in rows[0]), path
    chart = ask(_paths(platform)["/sales-chart/{event}"], Accept="text/csv")
    points = list(csv.DictReader(io.StringIO(chart)))
    [line] = ask(_paths(platform)["/sales-chart/{event}"])["data"]["series"]
    assert [int(p["cumulative_gross_revenue_minor"]) for p in points] == [
        p["cumulative"]["gross_revenue"]["minor"] for p in line["points"]
    ]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/dashboard-overview?from=2026-02-10&to=2026-02-09", "query.to"),
        ("/dashboard-overview?colour=red", "query.colour"),
        ("/dashboard-overview?organizer=0", "query.organizer"),
        ("/revenue-trends?events=1,1", "query.events"),
        ("/revenue-trends?events=1;2", "query.events"),
        ("/revenue-trends?granularity=hourly", "query.granularity"),
        ("/events/compare?events=1", "query.events"),
        ("/events/compare", "query.events"),
        ("/events/x/summary", "path.event"),
        ("/sales-chart/99999999999999999999", "path.event"),
        ("/explain/daily_metrics/1/aov?day=2026-02-10", "path.metric"),
        ("/explain/daily_payments/1/orders?day=2026-02-10", "path.metric"),
        ("/explain/nothing/1/orders?day=2026-02-10", "path.dataset"),
        ("/explain/daily_metrics/1/orders", "query.day"),
        ("/explain/daily_metrics/1/orders?day=2026-02-10&provider=CARD", "query.provider"),
        ("/explain/daily_metrics/1/orders?day=2026-02-10&currency=ZZZ", "query.currency"),
        ("/explain/event_summary/1/orders?day=2026-02-10", "query.day"),
        ("/explain/monthly_revenue/1/orders?day=9999-12-31", "query.day"),
        ("/explain/daily_payments/1/payments?day=2026-02-10&provider=%00", "query.provider"),
        ("/dashboard-overview?from=0001-01-01&to=0001-01-05", "query.from"),
        ("/revenue-trends?to=9999-12-31&granularity=weekly", "query.to"),
    ],
)
def test_what_is_wrong_is_named(api: Api, platform: Platform, path: str, field: str) -> None:
    own = api.client.as_(Role.ORGANIZER, platform.organizer)
    response = api.call("GET", BASE + path, headers=own)
    assert response.status_code == 422, response.text
    assert field in {error["field"] for error in response.json()["errors"]}


def test_an_organizers_numbers_are_looked_up_not_searched_for(platform: Platform) -> None:
    """Every statement reaches its rows by an index that begins with the organizer or the event."""
    first, last = FIRST, LAST
    common = {"organizer": platform.organizer, "event": platform.event, "events": None}
    given = {**common, "first": first, "last": last}
    windows = {**common, "numbers": [0, 1], "firsts": [first, last], "lasts": [last, last]}
    daily = {"dataset": "daily_metrics", "metrics": FLOW}
    sales = {"column": "business_date", "period": "business_date", "has_types": ""}
    asked = [
        (statement("organizer_windows", metrics=FLOW), windows),
        by_currency(
            Periods("daily", first, last),
            FLOW,
            {"organizer_id": platform.organizer, "event_id": [platform.event]},
        ),
        (statement("organizer_event_sums", by=(), **daily), given),
        (
            statement("organizer_event_sales", **(daily | {"metrics": SALES} | sales)),
            given,
        ),
    ]
    url = platform.settings.warehouse_reader_url
    assert url is not None
    with psycopg.connect(url.get_secret_value()) as connection:
        connection.execute("SET ROLE boxoffice_organizer_reader")
        # A few rows are read as a whole whatever the indexes; a year of them is not.
        connection.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
        own = f"SELECT set_config('boxoffice.organizer_id', '{platform.organizer}', false)"
        connection.execute(own.encode())
        for text, parameters in asked:
            plan = "\n".join(
                row[0] for row in connection.execute(b"EXPLAIN " + text, parameters).fetchall()
            )
            conditions = [line for line in plan.splitlines() if "Index Cond" in line]
            assert any(
                "(organizer_id = " in line or "(event_id = " in line for line in conditions
            ), plan
            assert "Seq Scan on daily_metrics" not in plan
