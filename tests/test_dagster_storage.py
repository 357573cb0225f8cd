"""Events stored together are the events that dagster-postgres stores one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psycopg
from dagster._core.instance.ref import InstanceRef

from resources.dagster_storage import BatchingEventLogStorage
from tests.deployment import Deployment

RANGE = {
    "dagster/asset_partition_range_start": "2024-01-10",
    "dagster/asset_partition_range_end": "2024-01-14",
}


def stored(url: str) -> tuple[Counter[tuple[object, ...]], list[tuple[object, ...]]]:
    with psycopg.connect(url.replace("+psycopg2", "")) as connection:
        events = connection.execute(
            "SELECT dagster_event_type, step_key, asset_key, partition FROM event_logs"
        ).fetchall()
        assets = connection.execute(
            "SELECT asset_key, last_materialization IS NULL, last_run_id IS NULL, asset_details"
            " FROM asset_keys ORDER BY 1"
        ).fetchall()
    return Counter(events), assets


def test_announced_materializations_are_the_same_however_they_are_stored(
    make_deployment: Callable[..., Deployment],
    fresh_database: Callable[..., str],
    tmp_path: Path,
) -> None:
    deployment = make_deployment()
    job = deployment.definitions.resolve_job_def("refresh_days")
    assert isinstance(deployment.instance.event_log_storage, BatchingEventLogStorage)
    deployment.instance.create_run_for_job(job, tags=RANGE)
    together = stored(deployment.settings.dagster_url.get_secret_value())

    url = fresh_database("dagster").replace("postgresql://", "postgresql+psycopg2://")
    plain = {"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}}
    with dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(tmp_path), overrides=plain)
    ) as instance:
        instance.create_run_for_job(job, tags=RANGE)
    assert stored(url) == together
    planned = sum(n for event, n in together[0].items() if "PLANNED" in str(event[0]))
    checks = [
        (key.asset_key.to_string(), key.name, None)
        for key in deployment.definitions.resolve_asset_graph().asset_check_keys
        if key.asset_key.to_user_string().startswith(("movements", "daily_"))
    ]
    assert planned == 13 * 5 + len(checks)
    # Not for each day of the range: no check has partitions.
    with psycopg.connect(
        deployment.settings.dagster_url.get_secret_value().replace("+psycopg2", "")
    ) as connection:
        announced = connection.execute(
            "SELECT asset_key, check_name, partition FROM asset_check_executions"
        ).fetchall()
    assert sorted(announced, key=str) == sorted(checks, key=str)
