"""The page ``docs/metrics.md``, written from the registry: ``python -m metrics.docs``.

Belongs here: how metrics and datasets are laid out as Markdown. Does not belong here: what they
mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metrics.datasets import DATASETS, Dataset
from metrics.registry import METRICS, RATIOS, Base, Derived, Distinct, Stored

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"

_INTRODUCTION = """# Metrics

Written from `metrics/registry.py` and `metrics/datasets.py` by `python -m metrics.docs`; a test
keeps it true. Every number is a sum over `movements`, the ledger: one row for each thing that
happened, on the reporting day it happened, with one signed column for each base metric.

- Money is in minor units of the row's currency (`KES` 2 decimals, `UGX` 0, `KWD` 3: ISO 4217).
  Currencies are never added together.
- A past day changes only when the platform corrects what happened on it. A refund of February for
  a sale of January is February's.
- Cancelling un-sells (`sale_reversals`), refunding returns money (`refunds`): two things, each on
  a day of its own.
- Test orders are counted in `test_orders` and nowhere else.
- There is no bare "net": `net_sales` is what stayed sold, `net_collected` is money, and
  `organizer_net` is what is left to the organizer.
- Nothing is clamped: a day on which more was refunded than paid shows a negative number.
"""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines) + "\n"


def _made(metric: Stored) -> str:
    match metric:
        case Base():
            return "sum over the ledger"
        case Derived():
            return f"`{metric.formula}`"
        case Distinct():
            return "distinct count, never summed"


def _dataset(dataset: Dataset) -> str:
    columns = [
        (f"`{c.name}`", c.type, "key" if c in dataset.grain else "", c.description)
        for c in (*dataset.grain, *dataset.attributes)
    ]
    indexes = "".join(
        f"- index on `{', '.join(index.columns)}`: {index.serves}\n" for index in dataset.indexes
    )
    names = ", ".join(f"`{name}`" for name in dataset.metric_names)
    metrics = "every metric above" if dataset.metric_names == tuple(METRICS) else names
    return (
        f"### `reporting.{dataset.name}`\n\n{dataset.description}\n\n"
        + _table(("column", "type", "", "meaning"), columns)
        + f"\nMetrics: {metrics}.\n\n{indexes}"
    )


def render() -> str:
    """The whole page."""
    metrics = [(f"`{m.name}`", m.unit, m.definition, m.day, _made(m)) for m in METRICS.values()]
    ratios = [(f"`{r.name}`", r.definition, f"`{r.formula}`") for r in RATIOS.values()]
    return "\n".join(
        [
            _INTRODUCTION,
            "## Stored metrics\n",
            _table(("metric", "unit", "meaning", "on the day it was", "made as"), metrics),
            "## Ratios\n",
            "Not stored: recomputed from their two metrics at every grain, never averaged.\n",
            _table(("ratio", "meaning", "formula"), ratios),
            "## Datasets\n",
            *(_dataset(dataset) for dataset in DATASETS.values()),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
