"""Daily datasets: sums over the ledger for each reporting day, published to the warehouse.

Belongs here: the assets ``daily_metrics``, ``daily_payments`` and ``daily_ticket_types``. Does not
belong here: their statements (``assets/sql``), or how rows become visible (``warehouse.publish``).
"""

from collections.abc import Sequence

import dagster as dg
import polars as pl

from assets.compute import compute_days
from assets.partitioning import OWNERS, days_of
from assets.presentation import dataset_schema, publication_metadata
from assets.statements import MOVEMENTS, code_version, dataset_sql, movements_view
from metrics.calendar import day_bounds, parse_date
from metrics.datasets import DAILY_METRICS, DAILY_PAYMENTS, DAILY_TICKET_TYPES, Dataset
from resources.lake import Lake
from resources.source_contract import DAILY_FACTS
from resources.warehouse import Warehouse
from warehouse.extractions import extraction_watermarks
from warehouse.publish import Provenance, next_attempt, publish

_INPUTS = tuple(fact.name for fact in DAILY_FACTS if not fact.is_pii)


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
    )
    def daily_dataset(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> None:
        """Compute the days from the ledger and publish each in a transaction of its own."""
        days = days_of(context, "day")
        with warehouse.connect() as connection:
            attempt = next_attempt(connection)
            computed = compute_days(lake, dataset, days)
            watermarks = extraction_watermarks(connection, _INPUTS, days.first, days.last)
            by_day = split(computed.rows, dataset, [day.isoformat() for day in days.days])
            for key, rows in by_day.items():
                day = parse_date(key)
                watermark = watermarks.get(day)
                provenance = Provenance(
                    run_id=context.run.run_id,
                    attempt=attempt,
                    input_version=computed.lake_snapshot,
                    lake_snapshot=computed.lake_snapshot,
                    code_version=version,
                    source_watermark=watermark,
                    is_complete=watermark is not None
                    and watermark >= day_bounds(days.time_zone, day)[1],
                )
                publication = publish(connection, dataset, key, rows, provenance)
                context.add_asset_metadata(
                    publication_metadata(dataset, publication, provenance, rows), dataset.name, key
                )

    return daily_dataset


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
