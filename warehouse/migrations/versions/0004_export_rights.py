"""The right to own recurring exports, and what recurring exports remember of their runs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


GRANTS = """
GRANT SELECT, INSERT, UPDATE ON ops.export_rights TO boxoffice_publisher;
GRANT SELECT ON ops.export_rights TO boxoffice_reader;

-- Readers see what belongs to the account that their session names.
ALTER TABLE ops.export_rights ENABLE ROW LEVEL SECURITY;
CREATE POLICY publisher ON ops.export_rights TO boxoffice_publisher USING (true);
CREATE POLICY own ON ops.export_rights FOR SELECT TO boxoffice_reader
    USING (account = current_setting('boxoffice.requester', true));
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "export_rights",
        sa.Column("account", sa.Text(), nullable=False, comment="Account of the platform."),
        sa.Column(
            "role",
            sa.Text(),
            nullable=False,
            comment="Its role when it was last seen; a viewer may own nothing.",
        ),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            nullable=True,
            comment="Organizer it acted for then; none for admins.",
        ),
        sa.Column(
            "granted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="Since when it has this role and organizer.",
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it last proved them, to the hour; a right not seen for long is stale.",
        ),
        sa.Column(
            "revoked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Since when the right is taken away; being seen does not give it back.",
        ),
        sa.Column(
            "revoked_reason",
            sa.Text(),
            nullable=True,
            comment="Why, for its owner to read.",
        ),
        sa.CheckConstraint("btrim(account) <> ''", name=op.f("export_rights_account_check")),
        sa.CheckConstraint(
            "role IN ('admin', 'super_admin', 'organizer', 'viewer')",
            name=op.f("export_rights_role_check"),
        ),
        sa.CheckConstraint(
            "role = 'viewer' OR (role = 'organizer') = (organizer_id IS NOT NULL)",
            name=op.f("export_rights_organizer_check"),
        ),
        sa.CheckConstraint("seen_at >= granted_at", name=op.f("export_rights_seen_check")),
        sa.CheckConstraint(
            "(revoked_at IS NULL) = (revoked_reason IS NULL) AND btrim(revoked_reason) <> ''",
            name=op.f("export_rights_revoked_check"),
        ),
        sa.PrimaryKeyConstraint("account", name=op.f("export_rights_pkey")),
        schema="ops",
        comment="Accounts that may own recurring exports, as their last verified call showed them.",
    )
    op.execute(GRANTS)

    op.add_column(
        "export_schedules",
        sa.Column(
            "counted_from",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="Jobs made before do not count as failures: it was resumed since.",
        ),
        schema="ops",
    )
    op.add_column(
        "export_schedules",
        sa.Column(
            "last_due_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Time for which it last made a job.",
        ),
        schema="ops",
    )
    op.add_column(
        "export_schedules",
        sa.Column(
            "last_missed",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Times it had come due before that and made no job: the last one stands for them.",
        ),
        schema="ops",
    )
    op.add_column(
        "export_schedules",
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Since when it is gone for its owner; kept for the jobs that it made.",
        ),
        schema="ops",
    )
    op.create_check_constraint(
        op.f("export_schedules_last_missed_check"),
        "export_schedules",
        "last_missed >= 0 AND (last_missed = 0 OR last_due_at IS NOT NULL)",
        schema="ops",
    )
    op.create_check_constraint(
        op.f("export_schedules_ended_check"),
        "export_schedules",
        "ended_at IS NULL OR next_due_at IS NULL",
        schema="ops",
    )
    op.create_index(
        "export_jobs_schedule_id_idx",
        "export_jobs",
        ["schedule_id", "finished_at"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("schedule_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Revert."""
    op.drop_index(
        "export_jobs_schedule_id_idx",
        table_name="export_jobs",
        schema="ops",
        postgresql_where=sa.text("schedule_id IS NOT NULL"),
    )
    for name in ("ended", "last_missed"):
        op.drop_constraint(
            op.f(f"export_schedules_{name}_check"), "export_schedules", schema="ops", type_="check"
        )
    for column in ("ended_at", "last_missed", "last_due_at", "counted_from"):
        op.drop_column("export_schedules", column, schema="ops")
    op.drop_table("export_rights", schema="ops")
