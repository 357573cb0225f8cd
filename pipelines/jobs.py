"""The jobs: which assets run together.

Belongs here: job definitions and the tags that limit and rank their runs. Does not belong here:
when they run (``pipelines.schedules``).
"""

from __future__ import annotations

import dagster as dg

LIVE_PRIORITY = {"dagster/priority": "10"}
"""Tag of runs that keep the present day fresh: they go before backfills."""

_MAX_RUNTIME = {"dagster/max_runtime": "3600"}

REFRESH_DAYS = "refresh_days"
ROLL_UP_WEEKS = "roll_up_weeks"
ROLL_UP_MONTHS = "roll_up_months"
SUMMARIZE_EVENTS = "summarize_events"


def build_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
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
    ]
