"""The jobs: which assets run together.

Belongs here: job definitions and the tags that limit and rank their runs. Does not belong here:
when they run (``pipelines.schedules``).
"""

from dataclasses import asdict
from datetime import timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from exports.attempt import Exporter
from exports.housekeeping import clean_exports
from resources.lake import Lake

LIVE_PRIORITY = {"dagster/priority": "10"}
"""Tag of runs that keep the present day fresh: they go before backfills."""

LATE_PRIORITY = {"dagster/priority": "5"}
"""Tag of runs that publish changed past days: they go after the live day and before backfills."""

_MAX_RUNTIME = {"dagster/max_runtime": "3600"}

EXPORT_TAGS = {
    "dagster/priority": "8",
    "dagster/max_runtime": "3600",
    "dagster/max_retries": "0",
}
"""Tags of runs that make a file: soon, and tried again by the queue of exports, not by Dagster."""

REFRESH_DAYS = "refresh_days"
ROLL_UP_WEEKS = "roll_up_weeks"
ROLL_UP_MONTHS = "roll_up_months"
SUMMARIZE_EVENTS = "summarize_events"
PROVE = "prove"
FINGERPRINT_DAYS = "fingerprint_days"


CLEAN_EXPORTS = "clean_exports"
TIDY_LAKE = "tidy_lake"
_ABANDONED_AFTER = timedelta(days=1)


def build_housekeeping(retention_days: int) -> dg.JobDefinition:
    """Keep the lake small and quick to read."""

    @dg.op(description="Merge small files, expire old snapshots, delete files nothing names.")
    def tidy(context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        report = lake.tidy(timedelta(days=retention_days), _ABANDONED_AFTER)
        context.log.info(
            f"expired {report.snapshots} snapshots, deleted {report.replaced_files} replaced and"
            f" {report.abandoned_files} abandoned files"
        )

    @dg.job(
        name=TIDY_LAKE,
        description="Merge the lake's small files and delete what its retention no longer needs.",
        tags=_MAX_RUNTIME,
    )
    def tidy_lake() -> None:
        tidy()

    return tidy_lake


def build_export_housekeeping() -> dg.JobDefinition:
    """Delete exported files that were kept long enough, and what broken attempts left."""

    @dg.op(description="Expire exports; delete their files, abandoned uploads and leftovers.")
    def clean(context: dg.OpExecutionContext, exporter: dg.ResourceParam[Exporter]) -> None:
        with exporter.connect() as connection:
            cleaned = clean_exports(connection, exporter.bucket, exporter.spill_directory)
        context.log.info(str(cleaned))
        context.add_output_metadata(asdict(cleaned))

    @dg.job(
        name=CLEAN_EXPORTS,
        description="Delete exported files whose time is up, and what broken attempts left.",
        tags=_MAX_RUNTIME,
    )
    def clean_exports_job() -> None:
        clean()

    return clean_exports_job


def build_jobs() -> list[UnresolvedAssetJobDefinition]:
    """The daily flow, and each rollup by itself."""
    return [
        dg.define_asset_job(
            REFRESH_DAYS,
            selection=dg.AssetSelection.groups("raw", "ledger", "daily"),
            description="Read reporting days from the source and publish their daily datasets.",
            tags=_MAX_RUNTIME,
        ),
        dg.define_asset_job(
            ROLL_UP_WEEKS,
            selection=dg.AssetSelection.assets("weekly_revenue"),
            description="Sum published days to ISO weeks.",
            tags=_MAX_RUNTIME,
        ),
        dg.define_asset_job(
            ROLL_UP_MONTHS,
            selection=dg.AssetSelection.assets("monthly_revenue"),
            description="Sum published days to calendar months.",
            tags=_MAX_RUNTIME,
        ),
        dg.define_asset_job(
            SUMMARIZE_EVENTS,
            selection=dg.AssetSelection.assets("event_summary"),
            description="Sum published days by event.",
            tags=_MAX_RUNTIME,
        ),
        dg.define_asset_job(
            PROVE,
            selection=dg.AssetSelection.assets("reconciliation"),
            description="Prove that everything published adds up; declare periods final.",
            tags=_MAX_RUNTIME,
        ),
        dg.define_asset_job(
            FINGERPRINT_DAYS,
            selection=dg.AssetSelection.assets("source_fingerprint"),
            description="Compare counts and sums of recent days with the source.",
            tags=_MAX_RUNTIME,
        ),
    ]
