"""The code location: assembles assets, jobs, schedules and resources, and nothing else.

Belongs here: ``build_defs``, the one way to build the project for production and tests. Nothing is
read or connected at import: ``defs`` is called when Dagster loads the location.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import dagster as dg
from dagster._utils.schedules import get_smallest_cron_interval

from assets.daily_metrics import daily_assets
from assets.exports import EXPORT, EXPORT_OP, build_export_job, export_files_spec
from assets.fingerprint import fingerprint_asset
from assets.movements import movements_asset
from assets.raw import raw_assets, source_specs
from assets.revenue import rollup_assets
from assets.scoreboard import scoreboard_asset
from exports.attempt import MAX_ATTEMPTS, RETRY_AFTER, Exporter
from exports.reading import Sources
from pipelines.jobs import (
    EXPORT_TAGS,
    LATE_PRIORITY,
    LIVE_PRIORITY,
    REFRESH_DAYS,
    build_export_housekeeping,
    build_housekeeping,
    build_jobs,
)
from pipelines.partitions import build_partitions
from pipelines.schedules import build_schedules
from pipelines.settings import Settings, get_settings
from resources.bucket import Bucket
from resources.lake import Lake
from resources.source import Source
from resources.warehouse import Warehouse
from sensors.export_requests import build_export_reaper, build_export_requests
from sensors.late_data import build_late_data
from sensors.recurring_exports import build_recurring_exports
from sensors.rollups import build_automation
from warehouse.export_schedules import Policy

_ACCEPTED_BETA = ("backfill_policy", "allow_nonexistent_upstream_partitions")
"""Beta parameters of Dagster that are used knowingly; every other beta warning stays one."""


def build_resources(settings: Settings) -> dict[str, object]:
    """What the assets talk to; plain objects, so that no secret is shown in the UI."""
    return {
        "source": Source(
            url=settings.source_url.get_secret_value(),
            buyer_key_secret=settings.buyer_key_secret.get_secret_value(),
            quarantine_tolerance=settings.quarantine_tolerance,
            quarantine_max_share=settings.quarantine_max_share,
        ),
        "lake": build_lake(settings),
        "warehouse": Warehouse(settings.warehouse_url.get_secret_value()),
        "exporter": build_exporter(settings),
    }


def build_lake(settings: Settings) -> Lake:
    """The lake of a deployment."""
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    return Lake(
        catalog_url=settings.lake_catalog_url.get_secret_value(),
        bucket=settings.lake_bucket,
        region=settings.s3_region,
        endpoint_url=settings.s3_endpoint_url,
        access_key_id=key.get_secret_value() if key else None,
        secret_access_key=secret.get_secret_value() if secret else None,
        memory_limit=settings.duckdb_memory_limit,
        threads=settings.duckdb_threads,
    )


def build_bucket(settings: Settings) -> Bucket:
    """The bucket of a deployment's exported files."""
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    return Bucket(
        name=settings.exports_bucket,
        region=settings.s3_region,
        endpoint_url=settings.s3_endpoint_url,
        access_key_id=key.get_secret_value() if key else None,
        secret_access_key=secret.get_secret_value() if secret else None,
        server_side_encryption=settings.exports_encryption or None,
    )


def build_exporter(settings: Settings) -> Exporter:
    """What a deployment's exports are made with."""
    warehouse_url = settings.warehouse_url.get_secret_value()
    spill = settings.exports_spill_directory
    return Exporter(
        connect=Warehouse(warehouse_url).connect,
        sources=Sources(
            lake=replace(
                build_lake(settings),
                memory_limit=settings.exports_memory_limit,
                spill_directory=str(spill) if spill else None,
            ),
            warehouse_url=warehouse_url,
            buyer_key_secret=settings.buyer_key_secret.get_secret_value(),
            time_zone=settings.time_zone,
        ),
        bucket=build_bucket(settings),
        keep=timedelta(days=settings.exports_keep_days),
        spill_directory=spill,
    )


def build_defs(settings: Settings, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """Build the project.

    Args:
        resources: replaces some or all of ``build_resources``, for tests.
    """
    with warnings.catch_warnings():
        for parameter in _ACCEPTED_BETA:
            warnings.filterwarnings("ignore", f"Parameter `{parameter}`", dg.BetaWarning)
        return _assemble(settings, {**build_resources(settings), **(resources or {})})


def _assemble(settings: Settings, resources: dict[str, object]) -> dg.Definitions:
    partitions = build_partitions(settings.time_zone, settings.start_date)
    flow = [
        *raw_assets(partitions.daily, settings.days_per_run),
        movements_asset(partitions.daily, settings.days_per_run),
        *_kept_fresh(settings, daily_assets(partitions.daily, settings.days_per_run)),
        *rollup_assets(partitions.daily, partitions.weekly, partitions.monthly),
    ]
    partitioned = {
        key.to_user_string(): asset.partitions_def
        for asset in flow
        if asset.partitions_def is not None
        for key in asset.keys
    }
    return dg.Definitions(
        assets=[
            *source_specs(),
            *flow,
            fingerprint_asset(partitions.daily, settings.fingerprint_days),
            scoreboard_asset(
                partitioned, settings.time_zone, settings.final_after_days, settings.refresh_cron
            ),
            export_files_spec(),
        ],
        jobs=[
            *build_jobs(),
            build_housekeeping(settings.lake_retention_days),
            build_export_job(EXPORT_TAGS),
            build_export_housekeeping(),
        ],
        schedules=build_schedules(settings.time_zone, settings.refresh_cron),
        sensors=[
            build_automation(LIVE_PRIORITY),
            build_late_data(
                REFRESH_DAYS,
                settings.time_zone,
                settings.start_date,
                settings.days_per_run,
                timedelta(minutes=settings.late_data_overlap_minutes),
                LATE_PRIORITY,
            ),
            build_export_requests(EXPORT, EXPORT_OP),
            build_export_reaper(MAX_ATTEMPTS, RETRY_AFTER),
            build_recurring_exports(Policy(time_zone=settings.time_zone)),
        ],
        resources=resources,
        executor=dg.in_process_executor,
    )


def _kept_fresh(settings: Settings, assets: list[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Have Dagster show the assets as late when the day in progress was not published in time.

    It sees the last materialization of any day, so a backfill looks fresh too; the scoreboard's
    check ``fresh`` goes by what was read from the source.
    """
    policy = dg.FreshnessPolicy.cron(
        deadline_cron=settings.refresh_cron,
        lower_bound_delta=get_smallest_cron_interval(settings.refresh_cron, settings.time_zone),
        timezone=settings.time_zone,
    )
    return [
        asset.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=policy))
        for asset in assets
    ]


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: the project with the settings of the environment."""
    return build_defs(get_settings())
