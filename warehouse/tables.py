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
    sa.Column(
        "final_at",
        sa.DateTime(timezone=True),
        nullable=True,
        comment="When the partition became final: late rows have arrived; none while it is open or "
        "provisional. A change after it is a restatement of a final period.",
    ),
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
    sa.Column(
        "quarantined_count",
        sa.BigInteger(),
        nullable=False,
        server_default="0",
        comment="Rows held in quarantine. The source has row_count + quarantined_count.",
    ),
    sa.Column("run_id", sa.Text(), nullable=False, comment="Dagster run."),
    schema="ops",
    comment="How far each reporting day of each source fact has been read.",
)

QUARANTINE = sa.Table(
    "quarantine",
    metadata,
    sa.Column(
        "quarantine_id",
        sa.BigInteger(),
        sa.Identity(always=True),
        primary_key=True,
        comment="Key.",
    ),
    sa.Column("fact", sa.Text(), nullable=False, comment="Source fact, for example orders."),
    sa.Column("row_key", sa.Text(), nullable=False, comment="Key of the row at the source."),
    sa.Column(
        "business_date",
        sa.Date(),
        nullable=True,
        comment="Reporting day it would count on; none where its instants are impossible.",
    ),
    sa.Column("reason", sa.Text(), nullable=False, comment="Why it cannot be used."),
    sa.Column("column_name", sa.Text(), nullable=False, comment="Column that is wrong."),
    sa.Column(
        "found",
        sa.Text(),
        nullable=True,
        comment="What the column holds; never of a column with personal data.",
    ),
    _instant("first_seen_at", "Source transaction time at which it was first found."),
    sa.Column("first_seen_run", sa.Text(), nullable=False, comment="Dagster run that found it."),
    _instant("last_seen_at", "Source transaction time at which it was last found."),
    sa.Column("last_seen_run", sa.Text(), nullable=False, comment="Dagster run that last saw it."),
    sa.Index(
        "quarantine_fact_business_date_row_key_idx",
        "fact",
        "business_date",
        "row_key",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
    schema="ops",
    comment="Source rows that cannot be used now: a row leaves it once the source has mended it.",
)

LATE_DAYS = sa.Table(
    "late_days",
    metadata,
    sa.Column("business_date", sa.Date(), primary_key=True, comment="Reporting day that changed."),
    sa.Column("fact", sa.Text(), primary_key=True, comment="Source fact that changed."),
    _instant("found_at", "Source transaction time at which the newest change was found."),
    sa.Column(
        "found_by",
        sa.Text(),
        nullable=False,
        comment="change: a row's update time; fingerprint: counts or sums that differ.",
    ),
    sa.Column("found", JSONB(), nullable=False, comment="What was found: rows, or differences."),
    sa.Column(
        "requests",
        sa.Integer(),
        nullable=False,
        server_default="0",
        comment="Runs requested for it so far.",
    ),
    sa.Column(
        "requested_at",
        sa.DateTime(timezone=True),
        nullable=True,
        comment="When its last run was requested.",
    ),
    sa.Column(
        "resolved_at",
        sa.DateTime(timezone=True),
        nullable=True,
        comment="When it was seen that the day has been read again since found_at.",
    ),
    sa.CheckConstraint("found_by IN ('change', 'fingerprint')", name="found_by"),
    schema="ops",
    comment="Past reporting days whose facts changed at the source after they were read.",
)

LATE_ROWS = sa.Table(
    "late_rows",
    metadata,
    sa.Column("fact", sa.Text(), primary_key=True, comment="Source fact that changed."),
    sa.Column("row_key", sa.Text(), primary_key=True, comment="Key of the row at the source."),
    sa.Column("business_date", sa.Date(), primary_key=True, comment="Reporting day it touches."),
    sa.Column(
        "recorded_at",
        sa.DateTime(timezone=True),
        primary_key=True,
        comment="When the platform last wrote the row.",
    ),
    schema="ops",
    comment="Changed rows that were counted in ops.late_days and that the overlap shows again: "
    "a row leaves it once the overlap has passed.",
)

AUDITS = sa.Table(
    "audits",
    metadata,
    sa.Column("dataset", sa.Text(), primary_key=True, comment="Finished table."),
    sa.Column("partition_key", sa.Text(), primary_key=True, comment=_PARTITION_KEY),
    sa.Column("passed", sa.Boolean(), nullable=False, comment="Whether it was fit to publish."),
    sa.Column(
        "failures",
        JSONB(),
        nullable=False,
        comment="Checks that failed, each with what it found; while passed is false readers see "
        "the version before.",
    ),
    sa.Column(
        "cells_compared",
        sa.BigInteger(),
        nullable=False,
        comment="Sums compared with the source, to the minor unit.",
    ),
    sa.Column("lake_snapshot", sa.BigInteger(), nullable=False, comment="DuckLake snapshot read."),
    sa.Column("run_id", sa.Text(), nullable=False, comment="Dagster run."),
    _instant("audited_at", "When the audit was made.", default_now=True),
    schema="ops",
    comment="The last audit of each partition before publication: whether it was held back.",
)

CAUSES = (
    "late_refund",
    "late_data",
    "correction",
    "deletion",
    "definition_change",
    "backfill",
)

RESTATEMENTS = sa.Table(
    "restatements",
    metadata,
    sa.Column(
        "restatement_id",
        sa.BigInteger(),
        sa.Identity(always=True),
        primary_key=True,
        comment="Order of restatement.",
    ),
    sa.Column("dataset", sa.Text(), nullable=False, comment="Finished table."),
    sa.Column("partition_key", sa.Text(), nullable=False, comment=_PARTITION_KEY),
    sa.Column(
        "publication_id",
        sa.BigInteger(),
        sa.ForeignKey("ops.publications.publication_id"),
        nullable=False,
        comment="The version that has the new value.",
    ),
    sa.Column(
        "replaced_publication_id",
        sa.BigInteger(),
        sa.ForeignKey("ops.publications.publication_id"),
        nullable=False,
        comment="The version that had the old value.",
    ),
    sa.Column("organizer_id", sa.BigInteger(), nullable=False, comment="Organizer of the cell."),
    sa.Column("event_id", sa.BigInteger(), nullable=False, comment="Event of the cell."),
    sa.Column("currency", sa.Text(), nullable=False, comment="ISO 4217 code of the cell."),
    sa.Column(
        "scope",
        JSONB(),
        nullable=False,
        comment="Further columns of the dataset's grain, for example provider; else empty.",
    ),
    sa.Column("metric", sa.Text(), nullable=False, comment="Metric whose value changed."),
    sa.Column("old_value", sa.BigInteger(), nullable=False, comment="Value before; 0 if absent."),
    sa.Column("new_value", sa.BigInteger(), nullable=False, comment="Value now; 0 if absent."),
    sa.Column(
        "cause",
        sa.Text(),
        nullable=False,
        comment="Why it changed; backfill where neither the ledger nor the definition explains it.",
    ),
    sa.Column(
        "was_final",
        sa.Boolean(),
        nullable=False,
        comment="Whether the period had been declared final.",
    ),
    sa.Column("run_id", sa.Text(), nullable=False, comment="Dagster run."),
    _instant("restated_at", "When the new value became visible.", default_now=True),
    sa.CheckConstraint(f"cause IN ({', '.join(map(repr, CAUSES))})", name="cause"),
    sa.Index(
        "restatements_cell_idx",
        "publication_id",
        "organizer_id",
        "event_id",
        "currency",
        "scope",
        "metric",
        unique=True,
    ),
    sa.Index("restatements_event_id_idx", "event_id", "partition_key"),
    sa.Index("restatements_organizer_id_idx", "organizer_id", "partition_key"),
    sa.Index("restatements_partition_idx", "dataset", "partition_key"),
    schema="ops",
    comment="Append-only: one row for each published value of a closed period that changed.",
)

RESTATEMENT_MOVEMENTS = sa.Table(
    "restatement_movements",
    metadata,
    sa.Column(
        "publication_id",
        sa.BigInteger(),
        sa.ForeignKey("ops.publications.publication_id"),
        primary_key=True,
        comment="The restating version.",
    ),
    sa.Column("movement_id", sa.Text(), primary_key=True, comment="Movement of the ledger."),
    sa.Column("event_id", sa.BigInteger(), primary_key=True, comment="Event it counts for."),
    sa.Column("organizer_id", sa.BigInteger(), primary_key=True, comment="Organizer of the event."),
    sa.Column("currency", sa.Text(), primary_key=True, comment="ISO 4217 code."),
    sa.Column(
        "scope",
        JSONB(),
        primary_key=True,
        comment="Further columns of the dataset's grain it counts in, for example provider; else "
        "empty. A movement that went from one cell to another has a row for each.",
    ),
    sa.Column("kind", sa.Text(), nullable=False, comment="What happened."),
    sa.Column(
        "change",
        sa.Text(),
        nullable=False,
        comment="What became of the movement since the version before.",
    ),
    sa.Column(
        "effective_at",
        sa.DateTime(timezone=True),
        nullable=True,
        comment="When it happened; none for daily traffic counts.",
    ),
    sa.Column(
        "recorded_at",
        sa.DateTime(timezone=True),
        nullable=True,
        comment="When the platform last wrote the row.",
    ),
    sa.Column(
        "deltas",
        JSONB(),
        nullable=False,
        comment="Change of each base measure that changed; money in minor units.",
    ),
    sa.CheckConstraint("change IN ('added', 'changed', 'removed')", name="change"),
    schema="ops",
    comment="Append-only: the movements that explain the restatements of a version.",
)

LATENESS = sa.Table(
    "lateness",
    metadata,
    sa.Column("business_date", sa.Date(), primary_key=True, comment="Reporting day."),
    sa.Column("kind", sa.Text(), primary_key=True, comment="Kind of movement."),
    sa.Column(
        "within_seconds",
        sa.BigInteger(),
        primary_key=True,
        comment="Upper edge of the bucket: recorded less effective, in seconds.",
    ),
    sa.Column("movements", sa.BigInteger(), nullable=False, comment="Movements in the bucket."),
    schema="ops",
    comment="Histogram of how late movements are recorded, by reporting day.",
)

DATASET_VERSIONS = sa.Table(
    "dataset_versions",
    metadata,
    sa.Column("dataset", sa.Text(), primary_key=True, comment="Finished table."),
    sa.Column(
        "version",
        sa.Uuid(),
        nullable=False,
        comment="Drawn anew with each change of what readers are shown of it; never used twice.",
    ),
    _instant("changed_at", "When.", default_now=True),
    schema="ops",
    comment="The present state of each finished table, as one value: kept by triggers.",
)

ATTEMPTS = sa.Sequence("attempts", schema="ops", metadata=metadata)
