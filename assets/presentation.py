"""What Dagster shows of a partition: tables, bars and column schemas.

Belongs here: turning figures into Dagster metadata. Does not belong here: computing figures.
"""

from __future__ import annotations

from collections import Counter
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
_RESTATED_ROWS = 20
_PLOTTED = ("requests", "orders", "tickets_sold", "check_ins", "payments_count", "refunds_count")
"""Counts that Dagster plots from partition to partition."""


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
) -> dg.MarkdownMetadataValue:
    """Control sums: a row for each measure, a column for each currency, amounts in its decimals.

    Markdown, because Dagster stores a table of its own kind as an object for each row and column.
    """
    currencies = sorted(sums)
    lines = [_row("measure", *currencies), _row(":--", *("--:" for _ in currencies))]
    for name in names:
        is_money = METRICS[name].unit == MONEY if name in METRICS else True
        values = (sums[currency][name] or 0 for currency in currencies)
        lines.append(
            _row(
                name,
                *(
                    format_minor(value, currency) if is_money else f"{value:,}"
                    for value, currency in zip(values, currencies, strict=True)
                ),
            )
        )
    return dg.MetadataValue.md("\n".join(lines))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


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
    lines = [_row(label, value, ""), _row(":--", "--:", ":--")]
    for name, number in rows:
        length = round(_BAR_WIDTH * number / longest) if longest > 0 and number > 0 else 0
        lines.append(_row(name, text(number), "█" * length))
    return dg.MetadataValue.md("\n".join(lines))


def publication_metadata(
    dataset: Dataset, publication: Publication, provenance: Provenance, rows: pl.DataFrame
) -> dict[str, dg.MetadataValue]:
    """What the UI shows of a published partition."""
    plotted = [name for name in _PLOTTED if name in dataset.metric_names]
    totals = {
        name: sum(values[name] or 0 for values in publication.control_sums.values())
        for name in plotted
    }
    shown = next(
        n for n in ("gross_revenue", "face_value", "payments") if n in dataset.metric_names
    )
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(publication.row_count),
        "publication": dg.MetadataValue.text(publication.outcome.value),
        "data_version": dg.MetadataValue.text(publication.data_version),
        "publication_id": dg.MetadataValue.int(publication.publication_id),
        "is_complete": dg.MetadataValue.bool(provenance.is_complete),
        "lake_snapshot": dg.MetadataValue.int(provenance.lake_snapshot),
        "control_sums": control_table(publication.control_sums, dataset.metric_names),
        "top_events": _top_events(rows, shown),
    }
    if publication.restatements:
        metadata["restated_cells"] = dg.MetadataValue.int(len(publication.restatements))
        metadata["restatements"] = _restatements(dataset, publication)
    if provenance.source_watermark is not None:
        metadata["source_watermark"] = dg.MetadataValue.timestamp(provenance.source_watermark)
    return metadata | {name: dg.MetadataValue.int(total) for name, total in totals.items()}


def _restatements(dataset: Dataset, publication: Publication) -> dg.MarkdownMetadataValue:
    """What changed of a closed period, the first of it, and where the rest is."""
    lines = []
    if publication.was_final:
        lines += ["**⚠ THIS PERIOD WAS FINAL: its published numbers have changed.**", ""]
    columns = ("event", *(column.name for column in dataset.scope), "metric", "old → new")
    lines += [
        _row(*columns, "change", "cause"),
        _row(*(":--" for _ in columns), "--:", ":--"),
    ]
    for found in publication.restatements[:_RESTATED_ROWS]:
        old, new, change = (
            _written(value, found.metric, found.currency)
            for value in (found.old_value, found.new_value, found.new_value - found.old_value)
        )
        scope = map(str, found.scope.values())
        moved = f"{old} → {new}"
        lines.append(_row(str(found.event_id), *scope, found.metric, moved, change, found.cause))
    count = len(publication.restatements)
    where = (
        f"`SELECT * FROM ops.restatements WHERE publication_id = {publication.publication_id}`;"
        " the movements behind them are in `ops.restatement_movements`"
    )
    shown = min(count, _RESTATED_ROWS)
    lines += ["", f"{shown} of {count:,} restated values. All of them: {where}."]
    return dg.MetadataValue.md("\n".join(lines))


def _written(value: int, metric: str, currency: str) -> str:
    """A count, or an amount in its currency's decimals with the code."""
    if METRICS[metric].unit == MONEY:
        return f"{format_minor(value, currency)} {currency}"
    return f"{value:,}"


def _top_events(rows: pl.DataFrame, metric: str) -> dg.MarkdownMetadataValue:
    """The events with the highest value of a money metric, in the currency with most rows."""
    totals: dict[str, dict[int, int]] = {}
    counts: Counter[str] = Counter()
    for currency, event, value in rows.select("currency", "event_id", metric).iter_rows():
        counts[currency] += 1
        of_currency = totals.setdefault(currency, {})
        of_currency[event] = of_currency.get(event, 0) + value
    if not counts:
        return dg.MetadataValue.md(f"No {metric} in this partition.")
    currency = max(sorted(counts), key=lambda name: counts[name])
    top = sorted(totals[currency].items(), key=lambda item: (-item[1], item[0]))[:_PREVIEW_ROWS]
    return bars(
        [(str(event), value) for event, value in top],
        "event",
        f"{metric}, {currency}",
        partial(format_minor, currency=currency),
    )
