"""Ad-hoc SQL: the role that runs it, and the record of every statement."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Its limits, and what PUBLIC may do elsewhere, need a superuser: local/sql/adhoc_role.sql.
ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'boxoffice_adhoc') THEN
        CREATE ROLE boxoffice_adhoc NOLOGIN;
    END IF;
END $$;
-- No default privileges: a new table is granted once its columns are known to be free of personal
-- data (api/adhoc/relations.py).
GRANT USAGE ON SCHEMA reporting TO boxoffice_adhoc;
GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO boxoffice_adhoc;
-- Administrators' rows are every organizer's, also where row security is enabled.
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'reporting' LOOP
        EXECUTE format(
            'CREATE POLICY adhoc ON reporting.%I FOR SELECT TO boxoffice_adhoc USING (true)', name
        );
    END LOOP;
END $$;
-- Nothing of Box Office is in it, and its functions would be everybody's.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
"""

NO_POLICIES = """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_policies
        WHERE schemaname = 'reporting' AND policyname = 'adhoc' LOOP
        EXECUTE format('DROP POLICY adhoc ON reporting.%I', name);
    END LOOP;
END $$;
"""

# The texts may name people: only the publisher reads them, also after a GRANT ON ALL TABLES.
RECORD = """
GRANT SELECT, INSERT ON ops.adhoc_queries TO boxoffice_publisher;
ALTER TABLE ops.adhoc_queries ENABLE ROW LEVEL SECURITY;
CREATE POLICY publisher_reads ON ops.adhoc_queries FOR SELECT TO boxoffice_publisher USING (true);
CREATE POLICY publisher_adds ON ops.adhoc_queries FOR INSERT TO boxoffice_publisher
    WITH CHECK (true);
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "adhoc_queries",
        sa.Column(
            "entry", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Order."
        ),
        sa.Column(
            "ends",
            sa.BigInteger(),
            nullable=True,
            comment="Entry of the allowed statement whose end this is; none where one was asked.",
        ),
        sa.Column("account", sa.Text(), nullable=False, comment="Account that asked."),
        sa.Column(
            "role", sa.Text(), nullable=False, comment="Its role then: admin or super_admin."
        ),
        sa.Column(
            "statement",
            sa.Text(),
            nullable=True,
            comment="The text; of a longer one its first 20,000 characters. None where it ends one.",
        ),
        sa.Column(
            "characters",
            sa.BigInteger(),
            nullable=True,
            comment="Length of the text as it was given.",
        ),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=False,
            comment="refused or allowed; of an allowed one later succeeded, failed or cancelled.",
        ),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=True,
            comment="Why it was refused, failed or was cancelled.",
        ),
        sa.Column("row_count", sa.BigInteger(), nullable=True, comment="Rows given."),
        sa.Column(
            "truncated", sa.Text(), nullable=True, comment="Cap that cut the answer: rows or bytes."
        ),
        sa.Column("milliseconds", sa.BigInteger(), nullable=True, comment="How long it ran."),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When.",
        ),
        sa.CheckConstraint(
            "(outcome = 'succeeded') = (row_count IS NOT NULL)",
            name=op.f("adhoc_queries_row_count_check"),
        ),
        sa.CheckConstraint(
            "(outcome IN ('refused', 'failed', 'cancelled')) = (reason IS NOT NULL)",
            name=op.f("adhoc_queries_reason_check"),
        ),
        sa.CheckConstraint(
            "CASE WHEN ends IS NULL THEN outcome IN ('refused', 'allowed') AND num_nulls(statement, characters) = 0 AND num_nonnulls(row_count, truncated, milliseconds) = 0 ELSE outcome IN ('succeeded', 'failed', 'cancelled') AND num_nonnulls(statement, characters) = 0 AND milliseconds IS NOT NULL END",
            name=op.f("adhoc_queries_outcome_check"),
        ),
        sa.CheckConstraint("btrim(account) <> ''", name=op.f("adhoc_queries_account_check")),
        sa.CheckConstraint(
            "role IN ('admin', 'super_admin')", name=op.f("adhoc_queries_role_check")
        ),
        sa.CheckConstraint(
            "truncated IN ('rows', 'bytes')", name=op.f("adhoc_queries_truncated_check")
        ),
        sa.ForeignKeyConstraint(
            ["ends"],
            ["ops.adhoc_queries.entry"],
        ),
        sa.PrimaryKeyConstraint("entry", name=op.f("adhoc_queries_pkey")),
        sa.UniqueConstraint("ends"),
        schema="ops",
        comment="Append-only: every ad-hoc statement that was asked, before it ran, and how it ended.",
    )
    op.create_index(
        "adhoc_queries_account_idx",
        "adhoc_queries",
        ["account", "entry"],
        unique=False,
        schema="ops",
    )
    op.execute(ROLE)
    op.execute(RECORD)


def downgrade() -> None:
    """Revert; the role stays, as the other roles do."""
    op.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    op.execute(NO_POLICIES)
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA reporting FROM boxoffice_adhoc")
    op.execute("REVOKE ALL ON SCHEMA reporting FROM boxoffice_adhoc")
    op.drop_index("adhoc_queries_account_idx", table_name="adhoc_queries", schema="ops")
    op.drop_table("adhoc_queries", schema="ops")
