"""The finished tables equal the source, to the cent, and one another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from local.ticketing.seed import seed
from metrics.datasets import DATASETS
from metrics.registry import METRICS, Distinct
from tests.deployment import SQL, Deployment

TIME_ZONE = "Africa/Nairobi"
FIRST, UNTIL = date(2026, 1, 1), datetime(2026, 3, 20, 12, tzinfo=UTC)
LAST = date(2026, 3, 20)
ADDITIVE = [name for name, metric in METRICS.items() if not isinstance(metric, Distinct)]


@pytest.fixture(scope="module")
def platform(make_deployment: Callable[..., Deployment]) -> Deployment:
    """A platform of three months, run through the whole flow."""
    deployment = make_deployment(start_date=FIRST, duckdb_threads=2)
    seed(
        deployment.source_owner_url,
        orders=10_000,
        until=UNTIL,
        months=3,
        seed=7,
        time_zone=TIME_ZONE,
    )
    deployment.run("refresh_days", str(FIRST), str(LAST))
    deployment.run("roll_up_weeks", "2025-12-29", "2026-03-16")
    deployment.run("roll_up_months", "2026-01-01", "2026-03-01")
    deployment.run("summarize_events")
    return deployment


def _independent(deployment: Deployment) -> dict[tuple[Any, ...], int]:
    query = (SQL / "independent_daily.sql").read_bytes()
    with psycopg.connect(deployment.source_owner_url) as connection:
        rows = connection.execute(query, {"time_zone": TIME_ZONE}).fetchall()
    return {tuple(row[:4]): row[4] for row in rows if FIRST <= row[2] <= LAST}


def test_every_metric_of_every_organizer_currency_and_day_equals_plain_sql_on_the_source(
    platform: Deployment,
) -> None:
    expected = _independent(platform)
    metrics = sorted({key[3] for key in expected})
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in metrics)
    published = {
        (row["organizer_id"], row["currency"], row["business_date"], name): row[name]
        for row in platform.rows(
            f"SELECT organizer_id, currency, business_date, {sums}"
            " FROM reporting.daily_metrics GROUP BY 1, 2, 3"
        )
        for name in metrics
        if row[name]
    }
    assert len(expected) > 5_000
    assert published == expected


def test_payments_and_ticket_types_add_up_to_the_daily_metrics(platform: Deployment) -> None:
    for dataset in ("daily_payments", "daily_ticket_types"):
        names = [
            name
            for name in DATASETS[dataset].metric_names
            # Order-level discounts and dispute fees belong to no ticket type; fees of orders too.
            if name not in ("discounts", "ticket_revenue")
        ]
        sums = ", ".join(f"sum({name})::bigint AS {name}" for name in names)
        query = (
            f"SELECT business_date, event_id, currency, {sums} FROM reporting.%s GROUP BY 1, 2, 3"
        )
        key = ("business_date", "event_id", "currency")
        daily, detail = (
            {
                tuple(row[k] for k in key): {n: row[n] for n in names}
                for row in platform.rows(query % table)
                if any(row[n] for n in names)
            }
            for table in ("daily_metrics", dataset)
        )
        assert daily == detail


@pytest.mark.parametrize(
    ("table", "column", "bucket"),
    [("weekly_revenue", "week_start", "week"), ("monthly_revenue", "month_start", "month")],
)
def test_days_sum_to_weeks_and_months(
    platform: Deployment, table: str, column: str, bucket: str
) -> None:
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in ADDITIVE)
    from_days = platform.rows(
        f"SELECT date_trunc('{bucket}', business_date)::date AS start, event_id, {sums}"
        " FROM reporting.daily_metrics GROUP BY 1, 2 ORDER BY 1, 2"
    )
    rolled_up = platform.rows(
        f"SELECT {column} AS start, event_id, {', '.join(ADDITIVE)} FROM reporting.{table}"
        " ORDER BY 1, 2"
    )
    assert rolled_up == from_days


def test_buyers_are_distinct_at_every_grain(platform: Deployment) -> None:
    """Counted anew from the source: never the sum of the days' buyers."""
    with psycopg.connect(platform.source_owner_url) as connection:
        expected = connection.execute(
            """SELECT event_id,
                date_trunc('month', completed_at AT TIME ZONE 'Africa/Nairobi')::date,
                count(DISTINCT coalesce(nullif(lower(trim(buyer_email)), ''),
                    nullif(trim(buyer_phone), ''), customer_id::text))
            FROM orders WHERE NOT is_test AND completed_at IS NOT NULL
            GROUP BY 1, 2 ORDER BY 1, 2"""
        ).fetchall()
    published = platform.rows(
        "SELECT event_id, month_start, buyers FROM reporting.monthly_revenue WHERE buyers > 0"
        " ORDER BY 1, 2"
    )
    assert [tuple(row.values()) for row in published] == [
        row for row in expected if FIRST <= row[1] <= LAST
    ]


def test_running_everything_again_changes_nothing(platform: Deployment) -> None:
    before = _state(platform)
    platform.run("refresh_days", "2026-02-01", "2026-02-20")
    platform.run("refresh_days", "2026-02-20")
    platform.run("roll_up_weeks", "2026-02-02", "2026-02-16")
    platform.run("summarize_events")
    assert _state(platform) == before


def _state(deployment: Deployment) -> list[list[dict[str, Any]]]:
    queries = ["SELECT publication_id, dataset, partition_key FROM ops.publications ORDER BY 1"]
    queries += [
        f"SELECT *, xmin::text FROM reporting.{name} ORDER BY 1, 2, 3, 4" for name in DATASETS
    ]
    return [deployment.rows(query) for query in queries]


def test_a_day_without_orders_is_published_as_zeros(platform: Deployment) -> None:
    zone, day = TIME_ZONE, "2026-01-15"
    platform.source(
        f"""UPDATE orders SET placed_at = placed_at + interval '40 days',
            completed_at = completed_at + interval '40 days'
        WHERE (placed_at AT TIME ZONE '{zone}')::date = '{day}'
           OR (completed_at AT TIME ZONE '{zone}')::date = '{day}'"""
    )
    platform.run("refresh_days", day)
    rows = platform.rows(
        "SELECT count(*) AS events, sum(requests) AS requests, sum(orders) AS orders,"
        f" sum(buyer_fees) AS fees FROM reporting.daily_metrics WHERE business_date = '{day}'"
    )
    assert rows[0]["events"] > 0
    assert (rows[0]["requests"], rows[0]["orders"], rows[0]["fees"]) == (0, 0, 0)


def test_the_period_in_progress_is_published_as_incomplete(platform: Deployment) -> None:
    states = {
        (row["dataset"], row["partition_key"]): row["is_complete"]
        for row in platform.rows("SELECT dataset, partition_key, is_complete FROM ops.partitions")
    }
    assert states["daily_metrics", "2026-03-19"]
    assert states["weekly_revenue", "2026-03-09"]
    assert states["monthly_revenue", "2026-02-01"]
    # The week and the month end after the last published day.
    assert not states["weekly_revenue", "2026-03-16"]
    assert not states["monthly_revenue", "2026-03-01"]
    assert LAST + timedelta(days=1) > UNTIL.date()
