"""The assets' statements: files of ``assets/sql`` with the metric registry filled in.

Belongs here: rendering a statement and its code version. Does not belong here: running it
(``assets.compute``), or SQL text other than what the registry writes.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from metrics.datasets import Dataset
from metrics.registry import BASE_MEASURES, Derived, Distinct, Stored
from warehouse.periods import BEYOND, LATENESS_EDGES, LATENESS_KINDS

MOVEMENTS = "movements"
_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - SQL
_SEPARATOR = ",\n       "


@cache
def _template(name: str) -> str:
    return (files("assets") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def movements_view(lake: str = "lake") -> str:
    """The statement of the ledger, a view of the lake.

    Args:
        lake: name under which the lake, or an earlier snapshot of it, is attached.
    """
    return _ENVIRONMENT.from_string(_template(MOVEMENTS)).render(measures=BASE_MEASURES, lake=lake)


def controls_sql() -> str:
    """Row counts, sums and lateness of the ledger by day, organizer, kind and currency."""
    return _ENVIRONMENT.from_string(_template("movement_controls")).render(
        measures=BASE_MEASURES,
        lateness_kinds=", ".join(f"'{kind}'" for kind in LATENESS_KINDS),
        lateness_edges=LATENESS_EDGES,
        beyond=BEYOND,
    )


def source_differences_sql() -> str:
    """The ledger's sums beside the source's; reads what ``controls_sql`` gave as ``controls``."""
    return _ENVIRONMENT.from_string(_template("source_differences")).render(measures=BASE_MEASURES)


def dataset_sql(dataset: Dataset) -> str:
    """The statement that computes a finished dataset."""
    distinct = [m for m in dataset.metrics if isinstance(m, Distinct)]
    rolled_up = [
        f"coalesce(b.{m.name}, 0) AS {m.name}" if m in distinct else f"{m.sql} AS {m.name}"
        for m in dataset.metrics
    ]
    return _ENVIRONMENT.from_string(_template(dataset.name)).render(
        metrics=_SEPARATOR.join(f"{m.sql} AS {m.name}" for m in dataset.metrics),
        distinct_metrics=_SEPARATOR.join(f"{m.sql} AS {m.name}" for m in distinct),
        rolled_up_metrics=_SEPARATOR.join(rolled_up),
        grain=", ".join(column.name for column in dataset.grain),
    )


def explain_sql(metric: Stored, scope: tuple[tuple[str, bool], ...]) -> str:
    """The movements behind a published value, or the distinct values it counts.

    Args:
        scope: further columns of the dataset's grain, and whether a value for each is given.
    """
    if isinstance(metric, Distinct):
        template = _ENVIRONMENT.from_string(_template("explain_distinct"))
        return template.render(of=metric.of, where=metric.where)
    terms = (*metric.plus, *metric.minus) if isinstance(metric, Derived) else (metric.name,)
    contribution = metric.formula if isinstance(metric, Derived) else metric.name
    return _ENVIRONMENT.from_string(_template("explain_movements")).render(
        contribution=contribution, terms=terms, scope=scope
    )


def code_version(*statements: str) -> str:
    """Hash of statements: changes exactly when what is computed may change."""
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()[:12]


def statement(name: str, **values: object) -> str:
    """A statement of ``assets/sql``, with what it leaves open filled in."""
    return _ENVIRONMENT.from_string(_template(name)).render(**values)
