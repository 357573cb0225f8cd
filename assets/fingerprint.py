"""The fingerprint of recent days: what changed at the source and left no trace.

Belongs here: the asset ``source_fingerprint`` and what Dagster shows of it. Does not belong here:
the comparison (``resources.fingerprint``), or the runs that follow (``sensors.late_data``).
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from assets.partitioning import OWNERS, SOURCE_POOL
from assets.presentation import column_schema
from assets.statements import MOVEMENTS, code_version
from metrics.calendar import DayRange, business_date, parse_date
from metrics.money import format_minor
from metrics.registry import METRICS, MONEY
from resources.fingerprint import Cell, fingerprint_sql, take_fingerprint
from resources.lake import Lake
from resources.source import Source
from resources.source_contract import Reason
from resources.warehouse import Warehouse
from warehouse.late_days import quarantined_keys, record_differences, unresolved_references

FINGERPRINT = "source_fingerprint"
_SHOWN = 100
_UNKNOWN = (Reason.UNKNOWN_EVENT, Reason.UNKNOWN_TICKET_TYPE)
_COLUMNS = (
    ("business_date", "date", "Reporting day that differs."),
    ("fact", "text", "Source fact that differs."),
    ("organizer_id", "bigint", "Organizer; none for a count of rows or an update time."),
    ("currency", "text", "ISO 4217 code; none for a count of rows or an update time."),
    ("measure", "text", "Base measure, rows, or recorded_until (microseconds since 1970)."),
    ("in_lake", "bigint", "Total when the day was read; none where it never was."),
    ("at_source", "bigint", "Total at the source now."),
)


def fingerprint_asset(daily: dg.DailyPartitionsDefinition, days: int) -> dg.AssetsDefinition:
    """The comparison of the last days with the source.

    Args:
        days: how many past days are compared.
    """

    @dg.asset(
        name=FINGERPRINT,
        description=(
            "Whether the source still gives the counts and sums of recent days as when they were"
            " read. Days that differ are late: the sensor late_data requests them."
        ),
        deps=[MOVEMENTS],
        group_name="trust",
        kinds={"duckdb", "postgres"},
        owners=OWNERS,
        code_version=code_version(fingerprint_sql()),
        pool=SOURCE_POOL,
        metadata={"dagster/column_schema": column_schema(*_COLUMNS)},
    )
    def source_fingerprint(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        source: dg.ResourceParam[Source],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.MaterializeResult[None]:
        """Compare the days before today and note those that differ as late."""
        first = parse_date(str(daily.get_first_partition_key()))
        last = business_date(daily.timezone, datetime.now(UTC)) - timedelta(days=1)
        if last < first:
            return dg.MaterializeResult(metadata={"days_compared": 0})
        window = DayRange(daily.timezone, max(first, last - timedelta(days=days - 1)), last)
        with warehouse.connect() as connection:
            taken = take_fingerprint(
                lake,
                source,
                window,
                quarantined_keys(connection),
                unresolved_references(connection, _UNKNOWN),
            )
            found: dict[tuple[date, str], list[dict[str, Any]]] = {
                at: [
                    {k: v for k, v in asdict(cell).items() if k not in ("business_date", "fact")}
                    for cell in cells
                ]
                for at, cells in taken.by_day.items()
            }
            for at, rows in taken.usable.items():
                found.setdefault(at, []).append({"usable_rows_in_quarantine": rows})
            record_differences(connection, found, taken.compared_at)
        differing = sorted({day for day, _ in taken.by_day})
        if differing:
            context.log.warning(
                f"{len(differing)} of {len(window.days)} days differ from the source and are read"
                f" again: {', '.join(map(str, differing))}"
            )
        return dg.MaterializeResult(
            metadata={
                "days_compared": len(window.days),
                "first_day": str(window.first),
                "last_day": str(window.last),
                "cells_compared": taken.cells_compared,
                "differing_days": len(differing),
                "differing_cells": len(taken.differences),
                "usable_rows_in_quarantine": sum(taken.usable.values()),
                "differences": dg.MetadataValue.md(_table(taken.differences)),
            }
        )

    return source_fingerprint


def _table(cells: Sequence[Cell]) -> str:
    if not cells:
        return "Every total is as it was read."
    lines = [
        "| day | fact | organizer | currency | measure | when read | at the source |",
        "| :-- | :-- | --: | :-- | :-- | --: | --: |",
    ]
    lines += [
        f"| {cell.business_date} | {cell.fact} | {_shown(cell.organizer_id)}"
        f" | {_shown(cell.currency)} | {cell.measure}"
        f" | {'never' if cell.in_lake is None else _value(cell, cell.in_lake)}"
        f" | {_value(cell, cell.at_source)} |"
        for cell in cells[:_SHOWN]
    ]
    if len(cells) > _SHOWN:
        lines.append(f"\n{len(cells) - _SHOWN} more are in ops.late_days.")
    return "\n".join(lines)


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def _value(cell: Cell, value: int) -> str:
    if cell.measure == "recorded_until":
        return datetime.fromtimestamp(value / 1_000_000, UTC).isoformat() if value else ""
    metric = METRICS.get(cell.measure)
    if metric is not None and metric.unit == MONEY and cell.currency is not None:
        return format_minor(value, cell.currency)
    return f"{value:,}"
