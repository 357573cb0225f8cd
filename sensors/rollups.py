"""Rollups follow their days.

Belongs here: the sensor that evaluates the automation conditions. Does not belong here: the
conditions (``assets.revenue``).
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg


def build_automation(run_tags: Mapping[str, str]) -> dg.AutomationConditionSensorDefinition:
    """Rollups follow their days, by default without anybody switching it on."""
    return dg.AutomationConditionSensorDefinition(
        "rollups_follow_days",
        target=dg.AssetSelection.groups("rollups"),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
        run_tags=run_tags,
        description="Launches weekly_revenue, monthly_revenue and event_summary after their days.",
    )
