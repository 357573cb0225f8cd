"""The jobs: which assets run together.

Belongs here: job definitions and the tags that limit and rank their runs. Does not belong here:
when they run (``pipelines.schedules``).
"""

from __future__ import annotations

import dagster as dg

LIVE_PRIORITY = {"dagster/priority": "10"}
"""Tag of runs that keep the present day fresh: they go before backfills."""

MAX_RUNTIME = {"dagster/max_runtime": "3600"}

REFRESH_DAYS = "refresh_days"


def build_jobs(partitions: dg.DailyPartitionsDefinition) -> list[dg.UnresolvedAssetJobDefinition]:
    """The one job of the daily flow: extract, verify the ledger, compute and publish days."""
    return [
        dg.define_asset_job(
            REFRESH_DAYS,
            selection=dg.AssetSelection.groups("raw", "ledger", "daily"),
            partitions_def=partitions,
            description="Read reporting days from the source and publish their daily datasets.",
            tags=MAX_RUNTIME,
        )
    ]
