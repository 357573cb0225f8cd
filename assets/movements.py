"""The ledger: the one signed list of things that happened, of which every number is a sum.

Belongs here: the asset ``movements``, its control sums, and the checks that nothing in it is
unresolved and that it says what the source says. Does not belong here: its statement
(``assets/sql/movements.sql``) or reading it (``assets.ledger``).
"""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from assets.checks import summary
from assets.ledger import Ledger, read_ledger
from assets.partitioning import OWNERS, days_of
from assets.presentation import bars, column_schema, control_table
from assets.statements import MOVEMENTS, code_version, movements_view
from metrics.audits import reconciled
from metrics.calendar import DayRange
from metrics.registry import BASE_MEASURES, METRICS, MONEY
from resources.lake import Lake
from resources.source_contract import FACTS
from resources.warehouse import Warehouse
from warehouse.audits import PartitionAudit, record_audits
from warehouse.periods import LATENESS_EDGES, bucket_name, replace_lateness

RESOLVED = "every_movement_resolved"
RECONCILED = "reconciled_with_source"
_SHOWN = 10
_MONEY = tuple(name for name in BASE_MEASURES if METRICS[name].unit == MONEY)
_DIMENSIONS = (
    ("movement_id", "text", "Source table, key and leg; the same whenever it is computed."),
    ("kind", "text", "What happened."),
    ("business_date", "date", "Reporting day on which it counts."),
    ("effective_at", "timestamptz", "When it happened; none for daily traffic counts."),
    ("recorded_at", "timestamptz", "When the platform last wrote the row."),
    ("origin_date", "date", "Reporting day of the sale it belongs to, where the fact carries it."),
    ("organizer_id", "bigint", "Organizer of the event."),
    ("event_id", "bigint", "Event."),
    ("ticket_type_id", "bigint", "Ticket type, for lines of tickets."),
    ("order_id", "bigint", "Order."),
    ("provider", "text", "Payment provider, for money in and out."),
    ("instrument", "text", "What the buyer paid with, for money in and out."),
    ("channel", "text", "Where the order was made, for orders and traffic."),
    ("currency", "text", "ISO 4217 code; money columns are its minor units."),
    ("buyer_key", "uuid", "Pseudonymous buyer, for completed orders."),
)


def movements_asset(daily: dg.DailyPartitionsDefinition, days_per_run: int) -> dg.AssetsDefinition:
    """The ledger as an asset: a view of the lake, verified for each day."""

    @dg.asset(
        name=MOVEMENTS,
        description="The ledger: one row for each thing that happened, with a day and one signed "
        "column for each base measure. A view of the raw tables: materializing a day verifies it.",
        partitions_def=daily,
        deps=[fact.table for fact in FACTS.values() if not fact.is_pii],
        group_name="ledger",
        kinds={"ducklake", "sql"},
        owners=OWNERS,
        code_version=code_version(movements_view()),
        backfill_policy=dg.BackfillPolicy.multi_run(days_per_run),
        metadata={
            "dagster/column_schema": column_schema(
                *_DIMENSIONS,
                *((name, "bigint", METRICS[name].definition) for name in BASE_MEASURES),
            ),
            "dagster/table_name": "lake.movements",
        },
        check_specs=[
            dg.AssetCheckSpec(
                RESOLVED,
                asset=MOVEMENTS,
                blocking=True,
                description="Every movement's event and ticket type are in the catalogue.",
            ),
            dg.AssetCheckSpec(
                RECONCILED,
                asset=MOVEMENTS,
                blocking=True,
                description="Sums of the ledger equal what plain SQL on the source says, for each "
                "day, organizer, currency and measure, to the minor unit.",
            ),
        ],
    )
    def movements(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """Count and sum the ledger's days, and refuse what is unresolved or not the source's."""
        days = days_of(context, "day")
        ledger = read_ledger(lake, days)
        with warehouse.connect() as connection:
            replace_lateness(connection, days, ledger.lateness)
            record_audits(
                connection,
                MOVEMENTS,
                _audits(ledger, days),
                ledger.lake_snapshot,
                context.run.run_id,
            )
        for day in days.days:
            context.add_asset_metadata(_day_metadata(ledger, day), MOVEMENTS, day.isoformat())
        yield dg.MaterializeResult()
        yield dg.AssetCheckResult(
            check_name=RESOLVED,
            passed=not ledger.unresolved,
            metadata={"unresolved": dg.MetadataValue.json(ledger.unresolved)},
            description=_unresolved(ledger.unresolved),
        )
        yield _reconciliation(ledger)

    return movements


def _unresolved(unresolved: dict[str, int]) -> str:
    if not unresolved:
        return "All resolved."
    named = ", ".join(f"{key} ({count})" for key, count in list(unresolved.items())[:_SHOWN])
    return (
        f"{sum(unresolved.values()):,} movements name an event or ticket type that the source does"
        f" not have: {named}{', ...' if len(unresolved) > _SHOWN else ''}"
    )


def _reconciliation(ledger: Ledger) -> dg.AssetCheckResult:
    cells = sum(ledger.cells_compared.values())
    verdict = reconciled(ledger.differences, ledger.without_totals)
    return dg.AssetCheckResult(
        check_name=RECONCILED,
        passed=verdict.passed,
        metadata={
            "cells_compared": dg.MetadataValue.int(cells),
            "differences": dg.MetadataValue.int(len(ledger.differences)),
        },
        description=f"{cells:,} sums equal the source's." if verdict.passed else summary(verdict),
    )


def _audits(ledger: Ledger, days: DayRange) -> dict[str, PartitionAudit]:
    """How each day came out, for ``ops.audits``."""
    failures: dict[str, list[dict[str, object]]] = {}
    for finding in reconciled(ledger.differences, ledger.without_totals).findings:
        failures.setdefault(finding.partition_key, []).append(
            {"check": RECONCILED, "what": finding.what, "count": finding.count}
            | {"examples": list(finding.examples)}
        )
    for key, count in ledger.unresolved.items():
        day, kind = key.split()
        failures.setdefault(day, []).append(
            {"check": RESOLVED, "what": f"{kind} without event or ticket type", "count": count}
        )
    return {
        day.isoformat(): PartitionAudit(
            ledger.cells_compared.get(day, 0), failures.get(day.isoformat(), ())
        )
        for day in days.days
    }


def _day_metadata(ledger: Ledger, day: date) -> dict[str, dg.MetadataValue]:
    kinds: dict[str, int] = {}
    sums: dict[str, dict[str, int]] = {}
    for control in ledger.controls.get(day, []):
        kinds[control.kind] = kinds.get(control.kind, 0) + control.movements
        if control.currency is not None:
            total = sums.setdefault(control.currency, dict.fromkeys(_MONEY, 0))
            for name in _MONEY:
                total[name] += control.sums[name]
    late: dict[int, int] = dict.fromkeys(LATENESS_EDGES, 0)
    for bucket in ledger.lateness:
        if bucket.business_date == day:
            late[bucket.within_seconds] = late.get(bucket.within_seconds, 0) + bucket.movements
    return {
        "dagster/partition_row_count": dg.MetadataValue.int(sum(kinds.values())),
        "lake_snapshot": dg.MetadataValue.int(ledger.lake_snapshot),
        "control_sums": control_table(sums, _MONEY),
        "movements_by_kind": bars(sorted(kinds.items()), "kind", "movements"),
        "sums_compared_with_source": dg.MetadataValue.int(ledger.cells_compared.get(day, 0)),
        "recorded_within": bars(
            [(bucket_name(edge), count) for edge, count in sorted(late.items()) if count],
            "recorded within",
            "movements",
        ),
    }
