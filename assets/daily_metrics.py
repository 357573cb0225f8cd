"""Daily datasets: sums over the ledger for each reporting day, published to the warehouse.

Belongs here: the assets ``daily_metrics``, ``daily_payments`` and ``daily_ticket_types``. Does not
belong here: their statements (``assets/sql``), or how rows become visible (``warehouse.publish``).
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import psycopg

from assets.checks import check_specs
from assets.compute import ComputedDays, compute_days
from assets.ledger_changes import ledger_history
from assets.partitioning import OWNERS, days_of
from assets.presentation import dataset_schema
from assets.publishing import Told, publish_audited
from assets.statements import MOVEMENTS, code_version, dataset_sql, movements_view
from metrics.audits import WEEKS_BEFORE, Verdict, volume
from metrics.calendar import DayRange, day_bounds, parse_date
from metrics.datasets import DAILY_METRICS, DAILY_PAYMENTS, DAILY_TICKET_TYPES, Dataset
from resources.lake import Lake
from resources.warehouse import Warehouse
from warehouse.audits import published_orders
from warehouse.publish import Provenance, next_attempt


def daily_assets(
    daily: dg.DailyPartitionsDefinition, days_per_run: int
) -> list[dg.AssetsDefinition]:
    """The three datasets of daily grain."""
    return [
        _daily_asset(dataset, daily, days_per_run)
        for dataset in (DAILY_METRICS, DAILY_PAYMENTS, DAILY_TICKET_TYPES)
    ]


def _daily_asset(
    dataset: Dataset, daily: dg.DailyPartitionsDefinition, days_per_run: int
) -> dg.AssetsDefinition:
    version = code_version(movements_view(), dataset_sql(dataset))

    @dg.asset(
        name=dataset.name,
        description=dataset.description,
        partitions_def=daily,
        deps=[MOVEMENTS],
        group_name="daily",
        kinds={"duckdb", "postgres"},
        owners=OWNERS,
        code_version=version,
        backfill_policy=dg.BackfillPolicy.multi_run(days_per_run),
        metadata={
            "dagster/column_schema": dataset_schema(dataset),
            "dagster/table_name": f"reporting.{dataset.name}",
        },
        check_specs=check_specs(dataset),
    )
    def daily_dataset(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[Told]:
        """Compute and audit the days; publish each in a transaction of its own."""
        days = days_of(context, "day")
        with warehouse.connect() as connection, ledger_history(lake, days) as history:
            attempt = next_attempt(connection)
            computed = compute_days(lake, dataset, days)

            def provenance(key: str) -> Provenance:
                watermark = computed.watermarks.get(parse_date(key))
                return Provenance(
                    run_id=context.run.run_id,
                    attempt=attempt,
                    input_version=computed.lake_snapshot,
                    lake_snapshot=computed.lake_snapshot,
                    code_version=version,
                    source_watermark=watermark,
                    is_complete=is_complete(days.time_zone, parse_date(key), watermark),
                )

            yield from publish_audited(
                context,
                connection,
                dataset,
                computed,
                split(computed.rows, dataset, [day.isoformat() for day in days.days]),
                provenance,
                [_volume(connection, computed, days)] if dataset is DAILY_METRICS else [],
                history,
            )

    return daily_dataset


def is_complete(time_zone: str, day: date, watermark: datetime | None) -> bool:
    """Whether everything the source knew of a day when it ended has been read."""
    return watermark is not None and watermark >= day_bounds(time_zone, day)[1]


def _volume(connection: psycopg.Connection[Any], computed: ComputedDays, days: DayRange) -> Verdict:
    totals = computed.rows.group_by("business_date").agg(pl.col("orders").sum())
    orders = dict.fromkeys(days.days, 0) | dict(totals.iter_rows())
    complete = [
        day for day in days.days if is_complete(days.time_zone, day, computed.watermarks.get(day))
    ]
    first = days.first - timedelta(weeks=WEEKS_BEFORE)
    return volume(orders, published_orders(connection, first, days.last), complete)


def split(
    rows: pl.DataFrame, dataset: Dataset, partition_keys: Sequence[str]
) -> dict[str, pl.DataFrame]:
    """Rows by partition key; a partition without rows is there, empty."""
    column = dataset.grain[0].name
    parts = {
        str(key[0]): part
        for key, part in rows.partition_by(column, maintain_order=True, as_dict=True).items()
    }
    return {key: parts.get(key, rows.clear()) for key in partition_keys}
