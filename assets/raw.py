"""Raw assets: the source's facts in the lake, one partition for each reporting day.

Belongs here: the assets of ``raw_*`` and what Dagster shows of them. Does not belong here: how rows
are extracted (``resources.extraction``) or what they are (``resources.source_contract``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import dagster as dg

from assets.partitioning import OWNERS, SOURCE_POOL, days_of
from assets.presentation import bars, column_schema, control_table
from assets.statements import code_version
from metrics.registry import BASE_MEASURES
from resources.extraction import Extraction, FactDay, extract, extract_catalogue
from resources.lake import Lake, table_columns
from resources.quarantine import QuarantineError, UnknownValueError, Unusable
from resources.reconciliation import ReconciliationError
from resources.source import ContractError, Source, reconciliation_statement, statement
from resources.source_contract import CATALOGUE, DAILY_FACTS, FACTS, Fact
from resources.warehouse import Warehouse
from warehouse.extractions import record_extraction, record_quarantine

_PLATFORM = "ticketing"
_DERIVED = {
    "business_date": "Reporting day of the row, in the reporting time zone.",
    "buyer_key": "HMAC of the buyer's identity, per organizer; not reversible.",
    "sale_date": "Reporting day of the sale.",
}


def source_specs() -> list[dg.AssetSpec]:
    """The tables of the ticketing platform, which Box Office reads and never writes."""
    return [
        dg.AssetSpec(
            [_PLATFORM, fact.name],
            description=f"{fact.description} Owned by the ticketing platform; read only.",
            group_name="ticketing_platform",
            kinds={"postgres"},
            owners=OWNERS,
        )
        for fact in FACTS.values()
    ]


def _spec(fact: Fact) -> dg.AssetSpec:
    described = {column.name: column.description for column in fact.columns} | _DERIVED
    return dg.AssetSpec(
        fact.table,
        deps=[dg.AssetKey([_PLATFORM, fact.name])],
        description=fact.description,
        group_name="catalogue" if fact.is_catalogue else "raw",
        kinds={"ducklake", "parquet"},
        owners=OWNERS,
        skippable=True,
        code_version=code_version(statement(fact.name), reconciliation_statement(fact.name))
        if fact.days
        else code_version(statement(fact.name)),
        tags={"pii": "true"} if fact.is_pii else {},
        metadata={
            "dagster/column_schema": column_schema(
                *(
                    (name, kind.lower(), described.get(name, "Whether this is the row's day."))
                    for name, kind in table_columns(fact).items()
                )
            ),
            "dagster/table_name": f"lake.{fact.table}",
        },
    )


def raw_assets(daily: dg.DailyPartitionsDefinition, days_per_run: int) -> list[dg.AssetsDefinition]:
    """The catalogue, and the daily facts as one step that reads one snapshot of the source."""

    @dg.multi_asset(name="catalogue", specs=[_spec(fact) for fact in CATALOGUE], pool=SOURCE_POOL)
    def catalogue(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        source: dg.ResourceParam[Source],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Read organizers, events and ticket types as they are now."""
        with _explained(warehouse, context.run.run_id):
            extraction = extract_catalogue(lake, source)
        _record_quarantine(warehouse, extraction.unusable, context.run.run_id)
        for fact in CATALOGUE:
            yield dg.MaterializeResult(
                asset_key=fact.table, metadata=_catalogue_metadata(fact, extraction)
            )

    @dg.multi_asset(
        name="raw",
        specs=[_spec(fact) for fact in DAILY_FACTS],
        partitions_def=daily,
        can_subset=True,
        pool=SOURCE_POOL,
        backfill_policy=dg.BackfillPolicy.multi_run(days_per_run),
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
    )
    def raw(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        source: dg.ResourceParam[Source],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Replace the days of the selected facts, all from one snapshot of the source."""
        days = days_of(context, "day")
        selected = [
            fact for fact in DAILY_FACTS if dg.AssetKey(fact.table) in context.selected_asset_keys
        ]
        token = f"{context.run.run_id}-{context.retry_number}"
        with _explained(warehouse, context.run.run_id):
            extraction = extract(lake, source, days, selected, token)
        _record_quarantine(warehouse, extraction.unusable, context.run.run_id)
        with warehouse.connect() as connection:
            record_extraction(connection, extraction.records(context.run.run_id))
        for fact in CATALOGUE:
            if fact.table in extraction.changed_catalogue:
                context.log_event(
                    dg.AssetMaterialization(
                        fact.table, metadata=_catalogue_metadata(fact, extraction)
                    )
                )
        for fact in selected:
            for day, measured in extraction.days[fact.name].items():
                context.add_asset_metadata(
                    _day_metadata(extraction, fact, day, measured), fact.table, day.isoformat()
                )
            if undatable := extraction.unusable.reasons(fact.name, None):
                context.log.warning(
                    f"{fact.name}: {sum(undatable.values()):,} rows have an instant that no"
                    f" reporting day can hold and are in quarantine: {undatable}"
                )
            yield dg.MaterializeResult(asset_key=fact.table)

    return [catalogue, raw]


@contextmanager
def _explained(warehouse: Warehouse, run_id: str) -> Iterator[None]:
    """End the step for good where reading the source again would find the same."""
    try:
        yield
    except QuarantineError as error:
        _record_quarantine(warehouse, error.unusable, run_id)
        raise dg.Failure(str(error), allow_retries=False) from error
    except (ContractError, UnknownValueError, ReconciliationError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _record_quarantine(warehouse: Warehouse, unusable: Unusable, run_id: str) -> None:
    days = unusable.days
    with warehouse.connect() as connection:
        record_quarantine(
            connection,
            unusable.rows.to_dicts(),
            facts=unusable.facts,
            days=(days.first, days.last) if days else None,
            snapshot_at=unusable.snapshot_at,
            run_id=run_id,
        )


def _quarantine_metadata(
    extraction: Extraction, fact: Fact, day: date | None, count: int
) -> dict[str, dg.MetadataValue]:
    """How many rows could not be used, and why."""
    metadata: dict[str, dg.MetadataValue] = {"quarantined": dg.MetadataValue.int(count)}
    if count:
        reasons = extraction.unusable.reasons(fact.name, day)
        metadata["quarantine"] = bars(list(reasons.items()), "reason", "rows")
    return metadata


def _catalogue_metadata(fact: Fact, extraction: Extraction) -> dict[str, dg.MetadataValue]:
    quarantined = extraction.unusable.counts().get((fact.name, None), 0)
    return _quarantine_metadata(extraction, fact, None, quarantined) | {
        "dagster/row_count": dg.MetadataValue.int(extraction.catalogue_rows[fact.name]),
        "source_snapshot_at": dg.MetadataValue.timestamp(extraction.source_snapshot_at),
        "lake_snapshot": dg.MetadataValue.int(extraction.lake_snapshot),
    }


def _day_metadata(
    extraction: Extraction, fact: Fact, business_date: date, day: FactDay
) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(day.row_count),
        "source_snapshot_at": dg.MetadataValue.timestamp(extraction.source_snapshot_at),
        "lake_snapshot": dg.MetadataValue.int(extraction.lake_snapshot),
    }
    if day.control_sums:
        measures = {name for sums in day.control_sums.values() for name in sums}
        names = [name for name in BASE_MEASURES if name in measures]
        metadata["reconciled_with_source"] = control_table(
            {
                c: {name: sums.get(name, 0) for name in names}
                for c, sums in day.control_sums.items()
            },
            names,
        )
    return metadata | _quarantine_metadata(extraction, fact, business_date, day.quarantined_count)
