"""Which slice of time a step works on.

Belongs here: turning a run's partitions into a range of reporting days, and the owners and pools
that assets share. Does not belong here: the partitions themselves
(``pipelines.partitions``).
"""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from metrics.calendar import DayRange, next_month, parse_date
from metrics.datasets import Period

OWNERS = ["team:data-engineering"]
SOURCE_POOL = "source"


def days_of(context: dg.AssetExecutionContext, period: Period) -> DayRange:
    """Every reporting day of the step's partitions, which must follow one another.

    Raises:
        dagster.Failure: the run was given partitions with a gap between them.
    """
    partitions = context.assets_def.partitions_def
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        raise TypeError(f"{context.assets_def.key} is not partitioned by time")
    keys = sorted(context.partition_keys)
    if len(keys) != len(
        partitions.get_partition_keys_in_range(dg.PartitionKeyRange(keys[0], keys[-1]))
    ):
        raise dg.Failure(
            f"the run's partitions {keys[0]} to {keys[-1]} have gaps; launch a range without gaps"
        )
    first, last = parse_date(keys[0]), parse_date(keys[-1])
    if period == "week":
        last += timedelta(days=6)
    elif period == "month":
        last = next_month(last) - timedelta(days=1)
    return DayRange(partitions.timezone, first, last)
