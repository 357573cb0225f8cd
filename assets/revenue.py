"""Rollups: published days summed to weeks, months and events, published to the warehouse.

Belongs here: the assets ``weekly_revenue``, ``monthly_revenue`` and ``event_summary``, and the
condition under which they follow their days. Does not belong here: their statements
(``assets/sql``), or how rows become visible (``warehouse.publish``).
"""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from assets.checks import check_specs
from assets.compute import ComputedRollup, compute_rollup
from assets.daily_metrics import split
from assets.partitioning import OWNERS, days_of
from assets.presentation import dataset_schema
from assets.publishing import ALL, Told, publish_audited
from assets.statements import MOVEMENTS, code_version, dataset_sql, movements_view
from metrics.calendar import DayRange, next_month, parse_date
from metrics.datasets import (
    DAILY_METRICS,
    EVENT_SUMMARY,
    MONTHLY_REVENUE,
    WEEKLY_REVENUE,
    Dataset,
)
from resources.lake import Lake
from resources.warehouse import Warehouse
from warehouse.publish import Provenance, next_attempt

_ROLLUPS_PER_RUN = 60


def follow_days(*, every_day: bool) -> dg.AutomationCondition[dg.AssetKey]:
    """Run when a day of any age was published anew, and none is being computed or held back.

    ``AutomationCondition.eager()`` alone looks only at the latest partition, so a restated day of
    last month would not reach its week. Checks that block a day also hold back its rollups.

    Args:
        every_day: wait until no day of the partition is missing.
    """
    followed = dg.AutomationCondition.eager().without(
        dg.AutomationCondition.in_latest_time_window()
    )
    if not every_day:
        followed = followed.without(~dg.AutomationCondition.any_deps_missing())
    return (
        followed.ignore(dg.AssetSelection.assets(MOVEMENTS))
        & dg.AutomationCondition.all_deps_blocking_checks_passed()
    ).with_label("follow_days")


def rollup_assets(
    daily: dg.DailyPartitionsDefinition,
    weekly: dg.WeeklyPartitionsDefinition,
    monthly: dg.MonthlyPartitionsDefinition,
) -> list[dg.AssetsDefinition]:
    """The two periodic rollups and the summary of events."""
    return [
        _period_asset(WEEKLY_REVENUE, weekly),
        _period_asset(MONTHLY_REVENUE, monthly),
        _event_summary(daily),
    ]


def _period_asset(
    dataset: Dataset, partitions: dg.TimeWindowPartitionsDefinition
) -> dg.AssetsDefinition:
    version = code_version(movements_view(), dataset_sql(dataset))
    mapping = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)

    @dg.asset(
        name=dataset.name,
        description=dataset.description,
        partitions_def=partitions,
        deps=[
            dg.AssetDep(DAILY_METRICS.name, partition_mapping=mapping),
            dg.AssetDep(MOVEMENTS, partition_mapping=mapping),
        ],
        group_name="rollups",
        kinds={"duckdb", "postgres"},
        owners=OWNERS,
        code_version=version,
        automation_condition=follow_days(every_day=True),
        backfill_policy=dg.BackfillPolicy.multi_run(_ROLLUPS_PER_RUN),
        metadata={
            "dagster/column_schema": dataset_schema(dataset),
            "dagster/table_name": f"reporting.{dataset.name}",
        },
        check_specs=check_specs(dataset),
    )
    def rollup(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[Told]:
        """Sum and audit the published days; publish each period in a transaction of its own."""
        days = days_of(context, dataset.period)
        with warehouse.connect() as connection:
            attempt = next_attempt(connection)
            computed = compute_rollup(lake, warehouse.url, dataset, days)

            def provenance(key: str) -> Provenance:
                period = _period(dataset, days.time_zone, key)
                return _provenance(context, attempt, version, computed, period)

            parts = split(computed.rows, dataset, sorted(context.partition_keys))
            yield from publish_audited(context, connection, dataset, computed, parts, provenance)

    return rollup


def _event_summary(daily: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    dataset = EVENT_SUMMARY
    version = code_version(movements_view(), dataset_sql(dataset))

    @dg.asset(
        name=dataset.name,
        description=dataset.description,
        deps=[DAILY_METRICS.name, MOVEMENTS, "raw_events", "raw_organizers"],
        group_name="rollups",
        kinds={"duckdb", "postgres"},
        owners=OWNERS,
        code_version=version,
        automation_condition=follow_days(every_day=False),
        metadata={
            "dagster/column_schema": dataset_schema(dataset),
            "dagster/table_name": f"reporting.{dataset.name}",
        },
        check_specs=check_specs(dataset),
    )
    def event_summary(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[Told]:
        """Sum every published day by event and publish the table in one transaction."""
        first, last = daily.get_first_partition_key(), daily.get_last_partition_key()
        days = DayRange(daily.timezone, parse_date(str(first)), parse_date(str(last)))
        with warehouse.connect() as connection:
            attempt = next_attempt(connection)
            computed = compute_rollup(lake, warehouse.url, dataset, days)
            given = _provenance(context, attempt, version, computed, days)
            yield from publish_audited(
                context, connection, dataset, computed, {ALL: computed.rows}, lambda _: given
            )

    return event_summary


def _period(dataset: Dataset, time_zone: str, key: str) -> DayRange:
    first = parse_date(key)
    following = first + timedelta(days=7) if dataset.period == "week" else next_month(first)
    return DayRange(time_zone, first, following - timedelta(days=1))


def _provenance(
    context: dg.AssetExecutionContext,
    attempt: int,
    version: str,
    computed: ComputedRollup,
    period: DayRange,
) -> Provenance:
    """A rollup is as new as its newest day, as far as its oldest, complete when every day is."""
    inputs = [day for day in computed.days if period.first <= day.day <= period.last]
    watermarks = [day.watermark for day in inputs if day.watermark is not None]
    return Provenance(
        run_id=context.run.run_id,
        attempt=attempt,
        input_version=max((day.publication_id for day in inputs), default=0),
        lake_snapshot=computed.lake_snapshot,
        code_version=version,
        source_watermark=min(watermarks) if len(watermarks) == len(inputs) > 0 else None,
        is_complete=len(inputs) == len(period.days) and all(day.is_complete for day in inputs),
    )
