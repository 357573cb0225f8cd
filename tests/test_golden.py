"""The golden vector: a sale of January, refunded in February, corrected later in February."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deployment import SQL, Deployment

SCHEMA = Path(__file__).parent.parent / "local" / "ticketing"
FIRST, LAST = "2024-01-10", "2024-02-03"


@pytest.fixture(scope="module")
def golden(make_deployment: Callable[..., Deployment]) -> Deployment:
    deployment = make_deployment()
    deployment.source(SCHEMA / "schema.sql", SCHEMA / "indexes.sql", SQL / "golden.sql")
    return deployment


def _days(deployment: Deployment) -> dict[str, dict[str, int]]:
    return {
        str(row.pop("business_date")): {k: v for k, v in row.items() if v}
        for row in deployment.rows(
            """SELECT business_date, gross_revenue, sale_reversals, net_sales, payments, refunds,
                      net_collected, orders, tickets_sold, tickets_cancelled, buyers
            FROM reporting.daily_metrics
            WHERE gross_revenue <> 0 OR sale_reversals <> 0 OR payments <> 0 OR refunds <> 0"""
        )
    }


SALE = {
    "gross_revenue": 1_000_000,
    "net_sales": 1_000_000,
    "payments": 1_000_000,
    "net_collected": 1_000_000,
    "orders": 1,
    "tickets_sold": 2,
    "buyers": 1,
}


def test_a_refund_counts_on_its_own_day_and_a_correction_restates_only_that_day(
    golden: Deployment,
) -> None:
    golden.run("refresh_days", FIRST, LAST)
    assert _days(golden) == {"2024-01-11": SALE}

    golden.source(SQL / "golden_refund.sql")
    golden.run("refresh_days", FIRST, LAST)
    refund = {
        "sale_reversals": 400_000,
        "net_sales": -400_000,
        "refunds": 400_000,
        "net_collected": -400_000,
        "tickets_cancelled": 1,
    }
    assert _days(golden) == {"2024-01-11": SALE, "2024-02-02": refund}

    versions = _versions(golden)
    golden.source(SQL / "golden_correction.sql")
    golden.run("refresh_days", FIRST, LAST)
    corrected = refund | {
        "sale_reversals": 450_000,
        "net_sales": -450_000,
        "refunds": 450_000,
        "net_collected": -450_000,
    }
    assert _days(golden) == {"2024-01-11": SALE, "2024-02-02": corrected}
    moved = {key for key, version in _versions(golden).items() if versions[key] != version}
    assert {day for _, day in moved} == {"2024-02-02"}


def _versions(deployment: Deployment) -> dict[tuple[str, str], int]:
    return {
        (row["dataset"], row["partition_key"]): row["publication_id"]
        for row in deployment.rows("SELECT * FROM ops.partitions")
    }
