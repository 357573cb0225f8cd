"""The finished and ops tables, as SQLAlchemy metadata.

Belongs here: columns, keys, constraints, indexes and comments of the ``reporting`` and ``ops``
schemas. The ``reporting`` tables are made from ``metrics.datasets``; a test compares this metadata
with what the migrations build. Does not belong here: writing rows (``warehouse.publish``).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from metrics.datasets import DATASETS, Column, Dataset
from metrics.registry import MONEY, Stored

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)

_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "bigint": sa.BigInteger(),
    "date": sa.Date(),
    "text": sa.Text(),
    "timestamptz": sa.DateTime(timezone=True),
}


def metric_comment(metric: Stored) -> str:
    """Comment of a metric's column: definition, unit, day and formula, as BI tools show it."""
    unit = "Minor units of the row's currency" if metric.unit == MONEY else "Count"
    return f"{metric.definition} {unit}; on the day of: {metric.day}. {metric.formula}"


def _dimension(column: Column, *, key: bool) -> sa.Column[object]:
    return sa.Column(
        column.name,
        _TYPES[column.type],
        primary_key=key,
        nullable=column.nullable,
        autoincrement=False,
        comment=column.description,
    )


def _finished_table(dataset: Dataset) -> sa.Table:
    return sa.Table(
        dataset.name,
        metadata,
        *(_dimension(column, key=True) for column in dataset.grain),
        *(_dimension(column, key=False) for column in dataset.attributes),
        *(
            sa.Column(m.name, sa.BigInteger(), nullable=False, comment=metric_comment(m))
            for m in dataset.metrics
        ),
        *(sa.CheckConstraint(f"{m.name} = {m.formula}", name=m.name) for m in dataset.derived),
        *(
            sa.Index(f"{dataset.name}_{'_'.join(index.columns)}_idx", *index.columns)
            for index in dataset.indexes
        ),
        schema="reporting",
        comment=dataset.description,
    )


FINISHED_TABLES: dict[str, sa.Table] = {name: _finished_table(d) for name, d in DATASETS.items()}


def _instant(name: str, comment: str, *, default_now: bool = False) -> sa.Column[object]:
    default = sa.text("clock_timestamp()") if default_now else None
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, comment=comment, server_default=default
    )


def _version_columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("data_version", sa.Text(), nullable=False, comment="Hash of the rows' content."),
        sa.Column(
            "input_version",
            sa.BigInteger(),
            nullable=False,
            comment="Order of the input that was read: lake snapshot of a day, newest publication "
            "of a rollup's days. A lower one never replaces a higher one.",
        ),
        sa.Column(
            "attempt",
            sa.BigInteger(),
            nullable=False,
            comment="Drawn from ops.attempts when the step began; fences out older attempts.",
        ),
        sa.Column(
            "lake_snapshot", sa.BigInteger(), nullable=False, comment="DuckLake snapshot read."
        ),
        sa.Column(
            "source_watermark",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Every source commit before it is in the rows; the oldest over all facts.",
        ),
        sa.Column(
            "is_complete",
            sa.Boolean(),
            nullable=False,
            comment="Whether the watermark has passed the end of the partition.",
        ),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Dagster run."),
        sa.Column(
            "code_version", sa.Text(), nullable=False, comment="Hash of the statements used."
        ),
    )


_PARTITION_KEY = "First day of the partition (YYYY-MM-DD), or all for an unpartitioned table."

PUBLICATIONS = sa.Table(
    "publications",
    metadata,
    sa.Column(
        "publication_id",
        sa.BigInteger(),
        sa.Identity(always=True),
        primary_key=True,
        comment="Order of publication.",
    ),
    sa.Column("dataset", sa.Text(), nullable=False, comment="Finished table."),
    sa.Column("partition_key", sa.Text(), nullable=False, comment=_PARTITION_KEY),
    *_version_columns(),
    sa.Column("row_count", sa.BigInteger(), nullable=False, comment="Rows published."),
    sa.Column(
        "control_sums",
        JSONB(),
        nullable=False,
        comment="Per currency, the sum of every metric; money in minor units.",
    ),
    _instant("published_at", "When the rows became visible to readers.", default_now=True),
    sa.Index(
        "publications_dataset_partition_key_idx",
        "dataset",
        "partition_key",
        sa.text("publication_id DESC"),
    ),
    schema="ops",
    comment="Append-only: one row for each version of a partition that readers were given.",
)

PARTITIONS = sa.Table(
    "partitions",
    metadata,
    sa.Column("dataset", sa.Text(), primary_key=True, comment="Finished table."),
    sa.Column("partition_key", sa.Text(), primary_key=True, comment=_PARTITION_KEY),
    sa.Column(
        "publication_id",
        sa.BigInteger(),
        sa.ForeignKey("ops.publications.publication_id"),
        nullable=False,
        comment="The version that readers see.",
    ),
    *_version_columns(),
    _instant("checked_at", "When the content was last compared with its input.", default_now=True),
    schema="ops",
    comment="What readers see now: one row for each partition, with the newest input compared.",
)

EXTRACTIONS = sa.Table(
    "extractions",
    metadata,
    sa.Column("fact", sa.Text(), primary_key=True, comment="Source fact, for example orders."),
    sa.Column("business_date", sa.Date(), primary_key=True, comment="Reporting day extracted."),
    _instant("source_snapshot_at", "Source transaction time: all committed before is included."),
    sa.Column("lake_snapshot", sa.BigInteger(), nullable=False, comment="DuckLake snapshot made."),
    sa.Column("row_count", sa.BigInteger(), nullable=False, comment="Rows in the lake."),
    sa.Column("run_id", sa.Text(), nullable=False, comment="Dagster run."),
    schema="ops",
    comment="How far each reporting day of each source fact has been read.",
)

ATTEMPTS = sa.Sequence("attempts", schema="ops", metadata=metadata)
