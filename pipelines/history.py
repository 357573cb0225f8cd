"""The first load: every partition that was never materialized, in bounded runs, in this process.

Belongs here: finding and running what is missing before Dagster serves. Does not belong here:
backfills of a running deployment, which Dagster's daemon launches (``pipelines.backfill``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import dagster as dg

from pipelines.definitions import build_defs
from pipelines.jobs import (
    PROVE,
    REFRESH_DAYS,
    ROLL_UP_MONTHS,
    ROLL_UP_WEEKS,
    SUMMARIZE_EVENTS,
)
from pipelines.settings import Settings, get_settings

Progress = Callable[[str, float | None], None]

_QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
_JOBS = (
    (REFRESH_DAYS, "daily_metrics"),
    (ROLL_UP_WEEKS, "weekly_revenue"),
    (ROLL_UP_MONTHS, "monthly_revenue"),
)


def materialize_missing(
    settings: Settings | None = None,
    instance: dg.DagsterInstance | None = None,
    progress: Progress | None = None,
) -> int:
    """Run the daily flow and the rollups for every partition that has no materialization.

    Then prove that all of it adds up, which also declares periods final.

    Args:
        progress: called with what is being done and the share done of it, 0 to 1.

    Returns:
        How many partitions were materialized.

    Raises:
        RuntimeError: a run failed; the days before it are published.
    """
    settings = settings or get_settings()
    report = progress or (lambda _text, _share: None)
    definitions = build_defs(settings)
    with instance or dg.DagsterInstance.get() as opened:
        done = 0
        for job_name, asset in _JOBS:
            keys = _missing(definitions, opened, asset)
            chunks = list(_chunks(keys, settings.days_per_run))
            for number, chunk in enumerate(chunks):
                report(f"{asset} {chunk[0]} to {chunk[-1]}", number / len(chunks))
                _run(
                    definitions,
                    opened,
                    job_name,
                    {
                        "dagster/asset_partition_range_start": chunk[0],
                        "dagster/asset_partition_range_end": chunk[-1],
                    },
                )
                done += len(chunk)
        if done:
            for job_name in (SUMMARIZE_EVENTS, PROVE):
                report(job_name, 0.0)
                _run(definitions, opened, job_name, {})
        report(f"{done} partitions", 1.0)
        return done


def _missing(
    definitions: dg.Definitions, instance: dg.DagsterInstance, asset: str
) -> list[list[str]]:
    """Runs of adjacent partition keys without a materialization."""
    key = dg.AssetKey(asset)
    partitions = definitions.resolve_asset_graph().get(key).partitions_def
    if partitions is None:
        raise TypeError(f"{asset} is not partitioned")
    materialized = instance.get_materialized_partitions(key)
    runs: list[list[str]] = [[]]
    for partition_key in partitions.get_partition_keys():
        if partition_key not in materialized:
            runs[-1].append(partition_key)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _chunks(runs: Sequence[Sequence[str]], size: int) -> Iterator[Sequence[str]]:
    for run in runs:
        for start in range(0, len(run), size):
            yield run[start : start + size]


def _run(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job_name: str,
    tags: dict[str, str],
) -> None:
    result = definitions.resolve_job_def(job_name).execute_in_process(
        instance=instance, tags=tags, run_config=_QUIET, raise_on_error=False
    )
    if not result.success:
        failed = [event.message for event in result.all_events if event.is_step_failure]
        reasons = "\n".join(message or "" for message in failed)
        raise RuntimeError(
            f"{job_name} failed for {tags or 'all'} (run {result.run_id}): {reasons}"
        )
