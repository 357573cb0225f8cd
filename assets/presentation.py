"""What Dagster shows of a partition: tables, bars and column schemas.

Belongs here: turning figures into Dagster metadata. Does not belong here: computing figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import dagster as dg
import polars as pl

from metrics.datasets import Dataset
from metrics.money import format_minor
from metrics.registry import METRICS, MONEY
from warehouse.publish import Provenance, Publication

_BAR_WIDTH = 20
_PREVIEW_ROWS = 8


def column_schema(*columns: tuple[str, str, str]) -> dg.TableSchema:
    """Dagster column schema from name, type and description of each column."""
    return dg.TableSchema(
        columns=[dg.TableColumn(name, type=kind, description=text) for name, kind, text in columns]
    )


def dataset_schema(dataset: Dataset) -> dg.TableSchema:
    """Dagster column schema of a finished dataset, with the registry's definitions."""
    dimensions = [(c.name, c.type, c.description) for c in (*dataset.grain, *dataset.attributes)]
    measures = [
        (m.name, "bigint", f"{m.definition} On the day of: {m.day}.") for m in dataset.metrics
    ]
    return column_schema(*dimensions, *measures)


def control_table(
    sums: Mapping[str, Mapping[str, int]], names: Sequence[str]
) -> dg.TableMetadataValue:
    """Control sums as a table: a row for each measure, a column for each currency."""
    currencies = sorted(sums)
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {"measure": name}
                | {
                    currency: format_minor(sums[currency][name] or 0, currency)
                    for currency in currencies
                }
            )
            for name in names
        ],
        schema=dg.TableSchema([dg.TableColumn(name) for name in ("measure", *currencies)]),
    )


def bars(
    rows: Sequence[tuple[str, int]],
    label: str,
    value: str,
    text: Callable[[int], str] = "{:,}".format,
) -> dg.MarkdownMetadataValue:
    """A bar chart in Markdown, longest bar full width; negative values have no bar.

    Args:
        text: how a value is written.
    """
    longest = max((number for _, number in rows), default=0)
    lines = [f"| {label} | {value} | |", "|:--|--:|:--|"]
    for name, number in rows:
        length = round(_BAR_WIDTH * number / longest) if longest > 0 and number > 0 else 0
        lines.append(f"| {name} | {text(number)} | {'█' * length} |")
    return dg.MetadataValue.md("\n".join(lines))


def publication_metadata(
    dataset: Dataset, publication: Publication, provenance: Provenance, rows: pl.DataFrame
) -> dict[str, dg.MetadataValue]:
    """What the UI shows of a published partition."""
    money = [m.name for m in dataset.metrics if m.unit == MONEY]
    counts = [m.name for m in dataset.metrics if m.unit != MONEY]
    totals = dict.fromkeys(counts, 0)
    for values in publication.control_sums.values():
        for name in counts:
            totals[name] += values[name] or 0
    shown = next(n for n in ("gross_revenue", "face_value", "payments") if n in money)
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(publication.row_count),
        "publication": dg.MetadataValue.text(publication.outcome.value),
        "data_version": dg.MetadataValue.text(publication.data_version),
        "publication_id": dg.MetadataValue.int(publication.publication_id),
        "is_complete": dg.MetadataValue.bool(provenance.is_complete),
        "lake_snapshot": dg.MetadataValue.int(provenance.lake_snapshot),
        "control_sums": control_table(publication.control_sums, money),
        "top_events": _top_events(rows, shown),
    }
    if provenance.source_watermark is not None:
        metadata["source_watermark"] = dg.MetadataValue.timestamp(provenance.source_watermark)
    return metadata | {name: dg.MetadataValue.int(total) for name, total in totals.items()}


def _top_events(rows: pl.DataFrame, metric: str) -> dg.MarkdownMetadataValue:
    """The events with the highest value of a money metric, in the currency with most events."""
    currencies = rows["currency"].value_counts(sort=True)["currency"]
    if currencies.is_empty():
        return dg.MetadataValue.md(f"No {METRICS[metric].name} in this partition.")
    top = (
        rows.filter(pl.col("currency") == currencies[0])
        .group_by("event_id")
        .agg(pl.col(metric).cast(pl.Int128).sum())
        .sort(metric, "event_id", descending=[True, False])
        .head(_PREVIEW_ROWS)
    )
    return bars(
        [(str(event), value) for event, value in top.iter_rows()],
        "event",
        f"{metric}, {currencies[0]}",
        partial(format_minor, currency=currencies[0]),
    )
