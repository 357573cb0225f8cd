"""What runs by itself: schedules, and rollups that follow their days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from assets.movements import RESOLVED
from metrics.audits import RECONCILED
from metrics.calendar import business_date, day_start, month_start, week_start
from pipelines.jobs import REFRESH_DAYS
from tests.deployment import Deployment

ZONE = "Africa/Nairobi"
ROLLUPS = dg.AssetSelection.groups("rollups")
Requested = dict[str, set[str | None]]


@pytest.fixture
def deployment(make_deployment: Callable[..., Deployment]) -> Deployment:
    return make_deployment(start_date=today() - timedelta(days=40))


def today() -> date:
    return business_date(ZONE, datetime.now(UTC))


def materialized(deployment: Deployment, asset: str, *days: date) -> None:
    for day in days:
        deployment.instance.report_runless_asset_event(
            dg.AssetMaterialization(asset, partition=day.isoformat())
        )


def evaluate(
    deployment: Deployment, previous: dg.EvaluateAutomationConditionsResult | None = None
) -> tuple[dg.EvaluateAutomationConditionsResult, Requested]:
    """One tick of Dagster's own evaluation, and the partitions it requests by asset."""
    result = dg.evaluate_automation_conditions(
        deployment.definitions,
        deployment.instance,
        asset_selection=ROLLUPS,
        cursor=previous.cursor if previous else None,
    )
    requested: Requested = {}
    for asset in ("weekly_revenue", "monthly_revenue"):
        keys = result.get_requested_partitions(dg.AssetKey(asset))
        if keys:
            requested[asset] = set(keys)
    if result.get_num_requested(dg.AssetKey("event_summary")):
        requested["event_summary"] = {None}
    return result, requested


def checked(deployment: Deployment, failed: tuple[str, str] | None = None) -> None:
    """Every blocking check of the days was made; one of them failed, if it is named."""
    for key in deployment.definitions.resolve_asset_graph().asset_check_keys:
        asset, check = key.asset_key.to_user_string(), key.name
        if asset in ("movements", "daily_metrics"):
            deployment.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=key.asset_key,
                    check_name=check,
                    passed=(asset, check) != failed,
                    metadata={},
                    blocking=True,
                )
            )


def all_days(deployment: Deployment) -> list[date]:
    first = deployment.settings.start_date
    return [first + timedelta(days=n) for n in range((today() - first).days + 1)]


def test_rollups_follow_their_days_of_any_age(deployment: Deployment) -> None:
    tick, requested = evaluate(deployment)
    assert requested == {}, "nothing is rolled up before its days are there"

    days = all_days(deployment)
    materialized(deployment, "daily_metrics", *days)
    materialized(deployment, "movements", *days)
    checked(deployment)
    deployment.instance.report_runless_asset_event(dg.AssetMaterialization("raw_events"))
    deployment.instance.report_runless_asset_event(dg.AssetMaterialization("raw_organizers"))
    tick, requested = evaluate(deployment, tick)
    assert requested == {
        "weekly_revenue": {week_start(day).isoformat() for day in days},
        "monthly_revenue": {month_start(day).isoformat() for day in days},
        "event_summary": {None},
    }

    tick, requested = evaluate(deployment, tick)
    assert requested == {}, "nothing is requested twice"

    late = today() - timedelta(days=30)
    materialized(deployment, "daily_metrics", late)
    tick, requested = evaluate(deployment, tick)
    assert requested == {
        "weekly_revenue": {week_start(late).isoformat()},
        "monthly_revenue": {month_start(late).isoformat()},
        "event_summary": {None},
    }


def test_events_are_summarized_even_where_days_are_missing(deployment: Deployment) -> None:
    tick, _ = evaluate(deployment)
    day = today() - timedelta(days=20)
    checked(deployment)
    materialized(deployment, "movements", day)
    materialized(deployment, "daily_metrics", day)
    for asset in ("raw_events", "raw_organizers"):
        deployment.instance.report_runless_asset_event(dg.AssetMaterialization(asset))
    _, requested = evaluate(deployment, tick)
    assert requested == {"event_summary": {None}}, "a week of which days are missing waits"


@pytest.mark.parametrize(
    "failing", [("movements", RESOLVED), ("daily_metrics", RECONCILED.name)], ids="/".join
)
def test_a_blocking_check_that_failed_holds_rollups_back(
    deployment: Deployment, failing: tuple[str, str]
) -> None:
    tick, _ = evaluate(deployment)
    days = all_days(deployment)
    materialized(deployment, "movements", *days)
    materialized(deployment, "raw_events")
    for failed, expected in ((failing, set()), (None, {"weekly_revenue", "monthly_revenue"})):
        checked(deployment, failed)
        materialized(deployment, "daily_metrics", *days)
        tick, requested = evaluate(deployment, tick)
        assert set(requested) - {"event_summary"} == expected


def test_today_is_refreshed_unless_its_last_refresh_is_unfinished(deployment: Deployment) -> None:
    schedule = deployment.definitions.resolve_schedule_def("refresh_today")
    now = datetime.now(UTC)
    day = today().isoformat()
    context = dg.build_schedule_context(
        deployment.instance,
        scheduled_execution_time=now,
        repository_def=deployment.definitions.get_repository_def(),
    )
    requests = schedule.evaluate_tick(context).run_requests
    assert requests is not None
    [request] = requests
    assert request.partition_key == day
    assert request.tags["dagster/priority"] == "10"

    deployment.instance.create_run_for_job(
        deployment.definitions.resolve_job_def(REFRESH_DAYS),
        tags={"dagster/partition": day},
        status=dg.DagsterRunStatus.STARTED,
    )
    again = schedule.evaluate_tick(context)
    assert not again.run_requests
    assert f"{day} is unfinished" in (again.skip_message or "")


def test_yesterday_is_finalized_after_midnight(deployment: Deployment) -> None:
    schedule = deployment.definitions.resolve_schedule_def("finalize_yesterday")
    midnight = day_start(ZONE, today()) + timedelta(minutes=20)
    context = dg.build_schedule_context(
        deployment.instance,
        scheduled_execution_time=midnight,
        repository_def=deployment.definitions.get_repository_def(),
    )
    requests = schedule.evaluate_tick(context).run_requests
    assert requests is not None
    assert [request.partition_key for request in requests] == [
        (today() - timedelta(days=1)).isoformat()
    ]


def test_everything_runs_by_default(deployment: Deployment) -> None:
    repository = deployment.definitions.get_repository_def()
    assert {s.name: s.default_status for s in repository.schedule_defs} == {
        "refresh_today": dg.DefaultScheduleStatus.RUNNING,
        "finalize_yesterday": dg.DefaultScheduleStatus.RUNNING,
        "fingerprint_days_nightly": dg.DefaultScheduleStatus.RUNNING,
        "tidy_lake_nightly": dg.DefaultScheduleStatus.RUNNING,
        "prove_nightly": dg.DefaultScheduleStatus.RUNNING,
        "clean_exports_hourly": dg.DefaultScheduleStatus.RUNNING,
    }
    assert {s.name: s.default_status for s in repository.sensor_defs} == {
        "rollups_follow_days": dg.DefaultSensorStatus.RUNNING,
        "late_data": dg.DefaultSensorStatus.RUNNING,
        "export_requests": dg.DefaultSensorStatus.RUNNING,
        "export_reaper": dg.DefaultSensorStatus.RUNNING,
        "recurring_exports": dg.DefaultSensorStatus.RUNNING,
    }
