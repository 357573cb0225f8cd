"""The partitions: reporting days, ISO weeks and calendar months in the reporting time zone.

Belongs here: partition definitions. Does not belong here: what a day is (``metrics.calendar``).
The period in progress is a partition too; it is published as incomplete.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import dagster as dg

from metrics.calendar import month_start, week_start


@dataclass(frozen=True)
class Partitions:
    """The three partition definitions of one deployment."""

    daily: dg.DailyPartitionsDefinition
    weekly: dg.WeeklyPartitionsDefinition
    monthly: dg.MonthlyPartitionsDefinition


def build_partitions(time_zone: str, start_date: date) -> Partitions:
    """Partitions from the first reporting day up to and including the period in progress.

    The first week and month may begin before the first reporting day; they hold the days there are
    and stay incomplete.
    """
    return Partitions(
        daily=dg.DailyPartitionsDefinition(
            start_date=start_date.isoformat(), timezone=time_zone, end_offset=1
        ),
        weekly=dg.WeeklyPartitionsDefinition(
            start_date=week_start(start_date).isoformat(),
            timezone=time_zone,
            day_offset=1,
            end_offset=1,
        ),
        monthly=dg.MonthlyPartitionsDefinition(
            start_date=month_start(start_date).isoformat(), timezone=time_zone, end_offset=1
        ),
    )
