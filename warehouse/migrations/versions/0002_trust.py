"""Restatements, quarantine, late data, audits and lateness."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


GRANTS = """
GRANT SELECT ON ALL TABLES IN SCHEMA ops TO boxoffice_publisher, boxoffice_reader;
GRANT INSERT ON ops.restatements, ops.restatement_movements TO boxoffice_publisher;
GRANT INSERT, UPDATE ON ops.audits, ops.late_days TO boxoffice_publisher;
GRANT INSERT, DELETE ON ops.late_rows TO boxoffice_publisher;
GRANT INSERT, UPDATE, DELETE ON ops.quarantine, ops.lateness TO boxoffice_publisher;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA ops TO boxoffice_publisher;
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "audits",
        sa.Column("dataset", sa.Text(), nullable=False, comment="Finished table."),
        sa.Column(
            "partition_key",
            sa.Text(),
            nullable=False,
            comment="First day of the partition (YYYY-MM-DD), or all for an unpartitioned table.",
        ),
        sa.Column("passed", sa.Boolean(), nullable=False, comment="Whether it was fit to publish."),
        sa.Column(
            "failures",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Checks that failed, each with what it found; while passed is false readers see the version before.",
        ),
        sa.Column(
            "cells_compared",
            sa.BigInteger(),
            nullable=False,
            comment="Sums compared with the source, to the minor unit.",
        ),
        sa.Column(
            "lake_snapshot", sa.BigInteger(), nullable=False, comment="DuckLake snapshot read."
        ),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Dagster run."),
        sa.Column(
            "audited_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When the audit was made.",
        ),
        sa.PrimaryKeyConstraint("dataset", "partition_key", name=op.f("audits_pkey")),
        schema="ops",
        comment="The last audit of each partition before publication: whether it was held back.",
    )
    op.create_table(
        "late_days",
        sa.Column(
            "business_date", sa.Date(), nullable=False, comment="Reporting day that changed."
        ),
        sa.Column("fact", sa.Text(), nullable=False, comment="Source fact that changed."),
        sa.Column(
            "found_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Source transaction time at which the newest change was found.",
        ),
        sa.Column(
            "found_by",
            sa.Text(),
            nullable=False,
            comment="change: a row's update time; fingerprint: counts or sums that differ.",
        ),
        sa.Column(
            "found",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What was found: rows, or differences.",
        ),
        sa.Column(
            "requests",
            sa.Integer(),
            server_default="0",
            nullable=False,
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
        sa.CheckConstraint(
            "found_by IN ('change', 'fingerprint')", name=op.f("late_days_found_by_check")
        ),
        sa.PrimaryKeyConstraint("business_date", "fact", name=op.f("late_days_pkey")),
        schema="ops",
        comment="Past reporting days whose facts changed at the source after they were read.",
    )
    op.create_table(
        "late_rows",
        sa.Column("fact", sa.Text(), nullable=False, comment="Source fact that changed."),
        sa.Column("row_key", sa.Text(), nullable=False, comment="Key of the row at the source."),
        sa.Column("business_date", sa.Date(), nullable=False, comment="Reporting day it touches."),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the platform last wrote the row.",
        ),
        sa.PrimaryKeyConstraint(
            "fact", "row_key", "business_date", "recorded_at", name=op.f("late_rows_pkey")
        ),
        schema="ops",
        comment="Changed rows that were counted in ops.late_days and that the overlap shows again: a row leaves it once the overlap has passed.",
    )
    op.create_table(
        "lateness",
        sa.Column("business_date", sa.Date(), nullable=False, comment="Reporting day."),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind of movement."),
        sa.Column(
            "within_seconds",
            sa.BigInteger(),
            nullable=False,
            comment="Upper edge of the bucket: recorded less effective, in seconds.",
        ),
        sa.Column("movements", sa.BigInteger(), nullable=False, comment="Movements in the bucket."),
        sa.PrimaryKeyConstraint(
            "business_date", "kind", "within_seconds", name=op.f("lateness_pkey")
        ),
        schema="ops",
        comment="Histogram of how late movements are recorded, by reporting day.",
    )
    op.create_table(
        "quarantine",
        sa.Column(
            "quarantine_id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
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
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Source transaction time at which it was first found.",
        ),
        sa.Column(
            "first_seen_run", sa.Text(), nullable=False, comment="Dagster run that found it."
        ),
        sa.Column(
            "last_seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Source transaction time at which it was last found.",
        ),
        sa.Column(
            "last_seen_run", sa.Text(), nullable=False, comment="Dagster run that last saw it."
        ),
        sa.PrimaryKeyConstraint("quarantine_id", name=op.f("quarantine_pkey")),
        schema="ops",
        comment="Source rows that cannot be used now: a row leaves it once the source has mended it.",
    )
    op.create_index(
        "quarantine_fact_business_date_row_key_idx",
        "quarantine",
        ["fact", "business_date", "row_key"],
        unique=True,
        schema="ops",
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "restatement_movements",
        sa.Column(
            "publication_id", sa.BigInteger(), nullable=False, comment="The restating version."
        ),
        sa.Column("movement_id", sa.Text(), nullable=False, comment="Movement of the ledger."),
        sa.Column("event_id", sa.BigInteger(), nullable=False, comment="Event it counts for."),
        sa.Column(
            "organizer_id", sa.BigInteger(), nullable=False, comment="Organizer of the event."
        ),
        sa.Column("currency", sa.Text(), nullable=False, comment="ISO 4217 code."),
        sa.Column(
            "scope",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Further columns of the dataset's grain it counts in, for example provider; else empty. A movement that went from one cell to another has a row for each.",
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
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Change of each base measure that changed; money in minor units.",
        ),
        sa.CheckConstraint(
            "change IN ('added', 'changed', 'removed')",
            name=op.f("restatement_movements_change_check"),
        ),
        sa.ForeignKeyConstraint(
            ["publication_id"],
            ["ops.publications.publication_id"],
        ),
        sa.PrimaryKeyConstraint(
            "publication_id",
            "movement_id",
            "event_id",
            "organizer_id",
            "currency",
            "scope",
            name=op.f("restatement_movements_pkey"),
        ),
        schema="ops",
        comment="Append-only: the movements that explain the restatements of a version.",
    )
    op.create_table(
        "restatements",
        sa.Column(
            "restatement_id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order of restatement.",
        ),
        sa.Column("dataset", sa.Text(), nullable=False, comment="Finished table."),
        sa.Column(
            "partition_key",
            sa.Text(),
            nullable=False,
            comment="First day of the partition (YYYY-MM-DD), or all for an unpartitioned table.",
        ),
        sa.Column(
            "publication_id",
            sa.BigInteger(),
            nullable=False,
            comment="The version that has the new value.",
        ),
        sa.Column(
            "replaced_publication_id",
            sa.BigInteger(),
            nullable=False,
            comment="The version that had the old value.",
        ),
        sa.Column(
            "organizer_id", sa.BigInteger(), nullable=False, comment="Organizer of the cell."
        ),
        sa.Column("event_id", sa.BigInteger(), nullable=False, comment="Event of the cell."),
        sa.Column("currency", sa.Text(), nullable=False, comment="ISO 4217 code of the cell."),
        sa.Column(
            "scope",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Further columns of the dataset's grain, for example provider; else empty.",
        ),
        sa.Column("metric", sa.Text(), nullable=False, comment="Metric whose value changed."),
        sa.Column(
            "old_value", sa.BigInteger(), nullable=False, comment="Value before; 0 if absent."
        ),
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
        sa.Column(
            "restated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When the new value became visible.",
        ),
        sa.CheckConstraint(
            "cause IN ('late_refund', 'late_data', 'correction', 'deletion', 'definition_change', 'backfill')",
            name=op.f("restatements_cause_check"),
        ),
        sa.ForeignKeyConstraint(
            ["publication_id"],
            ["ops.publications.publication_id"],
        ),
        sa.ForeignKeyConstraint(
            ["replaced_publication_id"],
            ["ops.publications.publication_id"],
        ),
        sa.PrimaryKeyConstraint("restatement_id", name=op.f("restatements_pkey")),
        schema="ops",
        comment="Append-only: one row for each published value of a closed period that changed.",
    )
    op.create_index(
        "restatements_cell_idx",
        "restatements",
        ["publication_id", "organizer_id", "event_id", "currency", "scope", "metric"],
        unique=True,
        schema="ops",
    )
    op.create_index(
        "restatements_event_id_idx",
        "restatements",
        ["event_id", "partition_key"],
        unique=False,
        schema="ops",
    )
    op.create_index(
        "restatements_organizer_id_idx",
        "restatements",
        ["organizer_id", "partition_key"],
        unique=False,
        schema="ops",
    )
    op.create_index(
        "restatements_partition_idx",
        "restatements",
        ["dataset", "partition_key"],
        unique=False,
        schema="ops",
    )
    op.add_column(
        "extractions",
        sa.Column(
            "quarantined_count",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Rows held in quarantine. The source has row_count + quarantined_count.",
        ),
        schema="ops",
    )
    op.add_column(
        "partitions",
        sa.Column(
            "final_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the partition became final: late rows have arrived; none while it is open or provisional. A change after it is a restatement of a final period.",
        ),
        schema="ops",
    )
    op.execute(GRANTS)


def downgrade() -> None:
    """Revert."""
    op.drop_column("partitions", "final_at", schema="ops")
    op.drop_column("extractions", "quarantined_count", schema="ops")
    op.drop_index("restatements_partition_idx", table_name="restatements", schema="ops")
    op.drop_index("restatements_organizer_id_idx", table_name="restatements", schema="ops")
    op.drop_index("restatements_event_id_idx", table_name="restatements", schema="ops")
    op.drop_index("restatements_cell_idx", table_name="restatements", schema="ops")
    op.drop_table("restatements", schema="ops")
    op.drop_table("restatement_movements", schema="ops")
    op.drop_index(
        "quarantine_fact_business_date_row_key_idx",
        table_name="quarantine",
        schema="ops",
        postgresql_nulls_not_distinct=True,
    )
    op.drop_table("quarantine", schema="ops")
    op.drop_table("lateness", schema="ops")
    op.drop_table("late_rows", schema="ops")
    op.drop_table("late_days", schema="ops")
    op.drop_table("audits", schema="ops")
