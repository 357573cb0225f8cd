"""What is left when something fails: the old version, and a retry that converges."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources import extraction
from tests import worker
from tests.deployment import SQL, Deployment

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "local" / "ticketing"
FIRST, LAST = "2024-01-10", "2024-01-14"
SEED = 20240111


@pytest.fixture(scope="module")
def deployment(make_deployment: Callable[..., Deployment]) -> Deployment:
    made = make_deployment()
    made.source(SCHEMA / "schema.sql", SCHEMA / "indexes.sql", SQL / "golden.sql")
    made.run("refresh_days", FIRST, LAST)
    return made


def published(deployment: Deployment) -> list[dict[str, Any]]:
    return deployment.rows(
        "SELECT business_date, event_id, orders, gross_revenue, payments, net_collected"
        " FROM reporting.daily_metrics ORDER BY 1, 2"
    )


@pytest.fixture
def lost_event(deployment: Deployment) -> Iterator[pytest.MonkeyPatch]:
    """The lake has lost the event of its orders, and no extraction brings it back.

    The first run after the test reads the event again.
    """
    with deployment.lake.session() as connection, deployment.lake.commit(connection):
        connection.execute("DELETE FROM lake.raw_events")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "_replace_catalogue", lambda *_: frozenset())
        yield patch


def test_a_blocking_check_that_fails_keeps_the_old_version_published(
    deployment: Deployment, lost_event: pytest.MonkeyPatch
) -> None:
    before = published(deployment)
    result = deployment.run("refresh_days", FIRST, LAST, check=False)
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert any("2024-01-11 order_completed (1)" in (check.description or "") for check in failed)
    assert published(deployment) == before

    lost_event.undo()
    assert deployment.run("refresh_days", FIRST, LAST).success
    assert published(deployment) == before


def test_a_worker_killed_at_any_moment_leaves_a_version_and_a_retry_converges(
    deployment: Deployment,
) -> None:
    old = published(deployment)
    deployment.source(
        "UPDATE orders SET total_minor = 2000000, buyer_fees_minor = 1000000",
        "UPDATE payments SET amount_minor = 2000000",
    )
    new = [
        row | {"gross_revenue": 2_000_000, "payments": 2_000_000, "net_collected": 2_000_000}
        if row["orders"]
        else row
        for row in old
    ]
    chance = random.Random(SEED)
    kill_after = [chance.uniform(0.2, 5) for _ in range(4)]
    for seconds in kill_after:
        run = worker.start(deployment, "refresh_days", FIRST, LAST)
        run.kill_after(seconds)
        assert published(deployment) in (old, new), f"seed {SEED}, killed after {kill_after}"
    deployment.run("refresh_days", FIRST, LAST)
    assert published(deployment) == new
    with deployment.lake.session() as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM lake.raw_orders), (SELECT count(*) FROM lake.raw_tickets)"
        ).fetchall()
    assert counts == [(1, 2)], "no row twice, none lost"


def test_a_day_that_cannot_be_resolved_is_not_published_by_running_its_datasets_alone(
    deployment: Deployment, lost_event: pytest.MonkeyPatch
) -> None:
    before = deployment.rows("SELECT * FROM ops.publications ORDER BY 1")
    assert not deployment.run("refresh_days", FIRST, LAST, check=False).success
    alone = dg.materialize(
        [
            asset
            for asset in deployment.definitions.assets or []
            if isinstance(asset, dg.AssetsDefinition)
        ],
        selection="daily_payments",
        instance=deployment.instance,
        resources=deployment.definitions.resources,
        tags={
            "dagster/asset_partition_range_start": FIRST,
            "dagster/asset_partition_range_end": LAST,
        },
        raise_on_error=False,
    )
    assert not alone.success
    [failure] = [e for e in alone.all_events if e.is_step_failure]
    assert "2024-01-11 failed not_null, referential, reconciled" in str(
        failure.step_failure_data.error
    )
    assert deployment.rows("SELECT * FROM ops.publications ORDER BY 1") == before


class Stopped(BaseException):
    """As Dagster raises it when a run is terminated."""


def test_a_request_to_stop_that_duckdb_reports_as_an_error_is_passed_on_as_such(
    deployment: Deployment,
) -> None:
    """DuckDB raises ``RuntimeError: Query interrupted`` from it, which a step would retry."""
    with pytest.raises(Stopped), deployment.lake.session():
        raise RuntimeError("Query interrupted") from Stopped()
    with pytest.raises(RuntimeError, match="failed"), deployment.lake.session():
        raise RuntimeError("failed") from ValueError()
