"""One cent at any hop: the hop is named, nothing is published, readers keep what they had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import polars as pl
import psycopg
import pytest

from assets import compute, ledger
from assets.compute import Computed, run_statement
from assets.statements import movements_view
from local.ticketing.seed import seed
from metrics.audits import checks_of
from metrics.datasets import DATASETS, Dataset
from tests.deployment import Deployment

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 8)
WEEK, DAY, OTHER = "2026-03-02", "2026-03-04", "2026-03-05"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAILY = ("daily_metrics", "daily_payments", "daily_ticket_types")


@pytest.fixture(scope="module")
def platform(make_deployment: Callable[..., Deployment]) -> Deployment:
    """A published week."""
    deployment = make_deployment(start_date=FIRST)
    until = datetime(2026, 3, 10, 12, tzinfo=UTC)
    seed(deployment.source_owner_url, orders=2_000, until=until, months=1, seed=7)
    result = deployment.run("refresh_days", str(FIRST), str(LAST))
    deployment.run("roll_up_weeks", WEEK)
    evaluated = {
        (e.asset_key.to_user_string(), e.check_name): e.passed
        for e in result.get_asset_check_evaluations()
    }
    for name in DAILY:
        for check in checks_of(DATASETS[name]):
            assert evaluated[name, check.name], (name, check.name)
    return deployment


@pytest.fixture(scope="module")
def payment(platform: Deployment) -> int:
    """A payment of the day."""
    with psycopg.connect(platform.source_owner_url) as connection:
        row = connection.execute(
            """SELECT payment_id FROM payments
            WHERE (confirmed_at AT TIME ZONE 'Africa/Nairobi')::date = %s AND NOT is_test
            ORDER BY 1 LIMIT 1""",
            (DAY,),
        ).fetchone()
    assert row
    return int(row[0])


def select(
    deployment: Deployment, assets: Sequence[str], first: str, last: str | None = None
) -> dg.ExecuteInProcessResult:
    """Run some assets of ``refresh_days`` alone."""
    return deployment.definitions.resolve_job_def("refresh_days").execute_in_process(
        instance=deployment.instance,
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last or first,
        },
        run_config=QUIET,
        asset_selection=[dg.AssetKey(name) for name in assets],
        raise_on_error=False,
    )


def daily(
    deployment: Deployment, assets: Sequence[str], first: str, last: str | None = None
) -> set[str]:
    """Compute days from what is in the lake; returns the datasets that were held back."""
    result = select(deployment, assets, first, last)
    failed = {
        (e.asset_key.to_user_string(), e.check_name)
        for e in result.get_asset_check_evaluations()
        if not e.passed and e.check_name != "volume"
    }
    assert {check for _, check in failed} <= {"reconciled"}
    reasons = [str(e.step_failure_data.error) for e in result.get_step_failure_events()]
    assert len(reasons) == len(failed), reasons
    return {asset for asset, _ in failed}


def held_back(deployment: Deployment) -> dict[tuple[str, str], str]:
    """What ops.audits says of partitions that were not fit to publish."""
    return {
        (row["dataset"], row["partition_key"]): "; ".join(
            f"{failure['check']}: {failure['what']} {failure['examples']}"
            for failure in row["failures"]
        )
        for row in deployment.rows("SELECT * FROM ops.audits WHERE NOT passed")
    }


def served(deployment: Deployment) -> list[list[dict[str, Any]]]:
    """Everything readers see, and whether a row was written anew."""
    tables = [f"reporting.{name}" for name in (*DAILY, "weekly_revenue")]
    tables += ["ops.publications", "ops.restatements"]
    return [
        deployment.rows(f"SELECT *, xmin::text FROM {table} ORDER BY 1, 2, 3, 4, 5")
        for table in tables
    ]


def in_lake(deployment: Deployment, statement: str) -> None:
    with deployment.lake.session() as connection, deployment.lake.commit(connection):
        connection.execute(statement)


def a_cent_more(rows: pl.DataFrame) -> pl.DataFrame:
    """The first row with payments has a cent more, in every metric that is made of it."""
    made_of_it = [n for n in ("payments", "net_collected", "organizer_net") if n in rows.columns]
    first = pl.int_range(pl.len()) == rows["payments"].arg_max()
    return rows.with_columns(pl.col(made_of_it) + first.cast(pl.Int64))


def computing(change: Callable[[pl.DataFrame], pl.DataFrame], name: str) -> Callable[..., Computed]:
    def changed(connection: Any, dataset: Dataset, days: Any) -> Computed:
        computed = run_statement(connection, dataset, days)
        if dataset.name != name:
            return computed
        return replace(computed, rows=change(computed.rows))

    return changed


def test_a_cent_between_source_and_raw(platform: Deployment, payment: int) -> None:
    before = served(platform)
    cent = (
        "UPDATE lake.raw_payments SET amount_minor = amount_minor %s 1"
        f" WHERE payment_id = {payment}"
    )
    in_lake(platform, cent % "+")
    assert daily(platform, DAILY, DAY) == {"daily_metrics", "daily_payments"}
    assert served(platform) == before
    told = held_back(platform)
    assert set(told) == {("daily_metrics", DAY), ("daily_payments", DAY)}
    for failure in told.values():
        assert failure.startswith("reconciled: source -> raw: sums differ")
        assert "payments is" in failure
    in_lake(platform, cent % "-")
    assert daily(platform, DAILY[:2], DAY) == set()
    assert held_back(platform) == {}
    assert served(platform) == before


def test_a_cent_between_raw_and_movements_holds_back_every_day_of_the_step(
    platform: Deployment, payment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.source(
        "UPDATE payments SET amount_minor = amount_minor + 100 WHERE payment_id = (SELECT"
        " payment_id FROM payments WHERE NOT is_test AND"
        f" (confirmed_at AT TIME ZONE 'Africa/Nairobi')::date = '{OTHER}' LIMIT 1)"
    )
    before = served(platform)
    broken = movements_view().replace(
        "amount_minor AS payments", f"amount_minor + (payment_id = {payment})::BIGINT AS payments"
    )
    assert select(platform, ["raw_payments"], DAY, OTHER).success
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "movements_view", lambda: broken)
        assert daily(platform, DAILY, DAY, OTHER) == {"daily_metrics", "daily_payments"}
    assert served(platform)[:2] == before[:2], "the other day has changed, and waits"
    told = held_back(platform)
    assert {day for _, day in told} == {DAY}
    assert all(failure.startswith("reconciled: raw -> movements") for failure in told.values())
    assert daily(platform, DAILY, DAY, OTHER) == set()
    assert held_back(platform) == {}
    assert served(platform)[:2] != before[:2]


@pytest.mark.parametrize("name", ["daily_metrics", "daily_payments"])
def test_a_cent_between_movements_and_days(
    platform: Deployment, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = served(platform)
    with monkeypatch.context() as patch:
        patch.setattr(compute, "run_statement", computing(a_cent_more, name))
        assert daily(platform, [name], DAY) == {name}
    assert served(platform) == before
    told = held_back(platform)
    assert set(told) == {(name, DAY)}
    assert told[name, DAY].startswith(f"reconciled: movements -> {name}: sums differ")
    assert daily(platform, [name], DAY) == set()
    assert held_back(platform) == {}


def test_a_cent_between_days_and_postgres(platform: Deployment, payment: int) -> None:
    platform.source(
        f"UPDATE payments SET amount_minor = amount_minor + 100 WHERE payment_id = {payment}"
    )
    before = served(platform)
    with psycopg.connect(
        platform.settings.warehouse_owner_url.get_secret_value(), autocommit=True
    ) as owner:
        owner.execute(
            """CREATE FUNCTION reporting.a_cent_more() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.payments > 0 THEN
                    NEW.payments := NEW.payments + 1;
                    NEW.net_collected := NEW.net_collected + 1;
                END IF;
                RETURN NEW;
            END $$"""
        )
        owner.execute(
            "CREATE TRIGGER a_cent_more BEFORE INSERT ON reporting.daily_payments"
            " FOR EACH ROW EXECUTE FUNCTION reporting.a_cent_more()"
        )
        try:
            assert select(platform, ["raw_payments"], DAY).success
            assert daily(platform, ["daily_payments"], DAY) == {"daily_payments"}
        finally:
            owner.execute("DROP FUNCTION reporting.a_cent_more CASCADE")
    payments = DAILY.index("daily_payments")
    assert served(platform)[payments] == before[payments]
    told = held_back(platform)
    assert set(told) == {("daily_payments", DAY)}
    assert told["daily_payments", DAY].startswith("reconciled: daily_payments -> postgres")
    assert daily(platform, DAILY[:2], DAY) == set()
    assert served(platform)[payments] != before[payments]


def test_a_cent_between_days_and_weeks(
    platform: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = served(platform)
    with monkeypatch.context() as patch:
        patch.setattr(compute, "run_statement", computing(a_cent_more, "weekly_revenue"))
        assert not platform.run("roll_up_weeks", WEEK, check=False).success
    assert served(platform) == before
    told = held_back(platform)
    assert set(told) == {("weekly_revenue", WEEK)}
    assert told["weekly_revenue", WEEK].startswith(
        "reconciled: daily_metrics -> weekly_revenue: sums differ"
    )
    assert platform.run("roll_up_weeks", WEEK).success


def test_every_published_sum_was_compared(platform: Deployment) -> None:
    audits = platform.rows("SELECT * FROM ops.audits WHERE dataset <> 'movements'")
    assert {row["dataset"] for row in audits} == {*DAILY, "weekly_revenue"}
    for row in audits:
        assert row["passed"]
        assert row["cells_compared"] > 20, row


def test_a_day_the_source_has_not_vouched_for_is_held_back(platform: Deployment) -> None:
    before = served(platform)
    in_lake(platform, f"DELETE FROM lake.source_totals WHERE business_date = DATE '{DAY}'")
    assert daily(platform, DAILY, DAY) == set(DAILY)
    assert served(platform) == before
    told = held_back(platform)
    assert set(told) == {(name, DAY) for name in DAILY}
    assert all(f"boxoffice backfill --from {DAY} --to {DAY}" in text for text in told.values())
