"""Row-level security under a reader role per scope, and one version of each finished table."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = (
    "daily_metrics",
    "daily_payments",
    "daily_ticket_types",
    "weekly_revenue",
    "monthly_revenue",
    "event_summary",
)
SCOPED = (
    *(f"reporting.{name}" for name in TABLES),
    "ops.restatements",
    "ops.restatement_movements",
)
EXPORTS = "ops.export_jobs, ops.export_job_events, ops.export_schedules, ops.export_rights"
SCOPES = "boxoffice_organizer_reader, boxoffice_admin_reader"

ROLES = """
DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['boxoffice_organizer_reader', 'boxoffice_admin_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
        -- Able to become it, and without doing so nothing of it.
        IF NOT pg_has_role('boxoffice_reader', role_name, 'SET')
           OR pg_has_role('boxoffice_reader', role_name, 'USAGE') THEN
            EXECUTE format('GRANT %I TO boxoffice_reader WITH INHERIT FALSE, SET TRUE', role_name);
        END IF;
    END LOOP;
    IF NOT (SELECT rolbypassrls FROM pg_roles WHERE rolname = 'boxoffice_publisher') THEN
        ALTER ROLE boxoffice_publisher BYPASSRLS;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the warehouse''s roles are not complete, and this role may not complete them: %',
        SQLERRM
        USING HINT = 'As a superuser run local/sql/warehouse_roles.sql, then migrate again.';
END $$;
"""

# A sub-select is evaluated once for a statement, and an organizer's index is still used.
POLICIES = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY publisher ON {table} TO boxoffice_publisher USING (true);
CREATE POLICY all_rows ON {table} FOR SELECT TO boxoffice_admin_reader USING (true);
CREATE POLICY own ON {table} FOR SELECT TO boxoffice_organizer_reader USING (
    organizer_id = (SELECT nullif(current_setting('boxoffice.organizer_id', true), '')::bigint)
);
"""

GRANTS = f"""
GRANT USAGE ON SCHEMA reporting, ops TO {SCOPES};
GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO {SCOPES};
GRANT SELECT ON ops.dataset_versions TO boxoffice_reader, boxoffice_publisher;
GRANT SELECT ON ops.dataset_versions, ops.partitions, ops.restatements, ops.restatement_movements,
    {EXPORTS} TO {SCOPES};
GRANT SELECT ON ops.alembic_version, ops.publications, ops.audits, ops.extractions, ops.late_days,
    ops.quarantine, ops.lateness TO boxoffice_admin_reader;
-- Control sums and what failed are about all organizers.
GRANT SELECT (publication_id, dataset, partition_key, data_version, is_complete, published_at)
    ON ops.publications TO boxoffice_organizer_reader;
GRANT SELECT (dataset, partition_key, passed, audited_at)
    ON ops.audits TO boxoffice_organizer_reader;

ALTER POLICY own ON ops.export_jobs TO boxoffice_reader, {SCOPES};
ALTER POLICY own ON ops.export_job_events TO boxoffice_reader, {SCOPES};
ALTER POLICY own ON ops.export_schedules TO boxoffice_reader, {SCOPES};
ALTER POLICY own ON ops.export_rights TO boxoffice_reader, {SCOPES};
"""

# Deferred to the commit, so that the row is locked for no longer than the commit takes: partitions
# of one table are published side by side.
VERSIONS = """
CREATE FUNCTION ops.draw_dataset_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    changed text := CASE TG_OP WHEN 'DELETE' THEN OLD.dataset ELSE NEW.dataset END;
    affected text[] := CASE changed
        WHEN 'movements' THEN ARRAY['daily_metrics', 'daily_payments', 'daily_ticket_types']
        ELSE ARRAY[changed]
    END;
    name text;
BEGIN
    FOREACH name IN ARRAY affected LOOP
        INSERT INTO ops.dataset_versions AS v (dataset, version, changed_at)
        VALUES (name, gen_random_uuid(), clock_timestamp())
        ON CONFLICT (dataset) DO UPDATE
            SET version = excluded.version, changed_at = excluded.changed_at;
        PERFORM pg_notify('boxoffice_published', name);
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION ops.draw_dataset_version IS
    'Draws a new version of a finished table and tells those who listen, with the commit.';
REVOKE EXECUTE ON FUNCTION ops.draw_dataset_version FROM PUBLIC;

CREATE CONSTRAINT TRIGGER partition_changed
    AFTER UPDATE ON ops.partitions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.publication_id <> NEW.publication_id OR OLD.is_complete <> NEW.is_complete
          OR OLD.final_at IS DISTINCT FROM NEW.final_at)
    EXECUTE FUNCTION ops.draw_dataset_version();
CREATE CONSTRAINT TRIGGER partition_added_or_removed
    AFTER INSERT OR DELETE ON ops.partitions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION ops.draw_dataset_version();
CREATE CONSTRAINT TRIGGER audit_changed
    AFTER UPDATE ON ops.audits DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.passed <> NEW.passed)
    EXECUTE FUNCTION ops.draw_dataset_version();
CREATE CONSTRAINT TRIGGER audit_failed
    AFTER INSERT ON ops.audits DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NOT NEW.passed)
    EXECUTE FUNCTION ops.draw_dataset_version();

INSERT INTO ops.dataset_versions (dataset, version)
SELECT dataset, gen_random_uuid() FROM (SELECT DISTINCT dataset FROM ops.partitions) AS d;
"""


def upgrade() -> None:
    """Apply."""
    op.execute(ROLES)
    op.create_table(
        "dataset_versions",
        sa.Column("dataset", sa.Text(), nullable=False, comment="Finished table."),
        sa.Column(
            "version",
            sa.Uuid(),
            nullable=False,
            comment="Drawn anew with each change of what readers are shown of it; never used twice.",
        ),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When.",
        ),
        sa.PrimaryKeyConstraint("dataset", name=op.f("dataset_versions_pkey")),
        schema="ops",
        comment="The present state of each finished table, as one value: kept by triggers.",
    )
    for table in SCOPED:
        op.execute(POLICIES.format(table=table))
    op.execute(GRANTS)
    op.execute(VERSIONS)


def downgrade() -> None:
    """Revert; the roles stay, without rights."""
    for name in ("audit_failed", "audit_changed"):
        op.execute(f"DROP TRIGGER {name} ON ops.audits")
    for name in ("partition_added_or_removed", "partition_changed"):
        op.execute(f"DROP TRIGGER {name} ON ops.partitions")
    op.execute("DROP FUNCTION ops.draw_dataset_version")
    op.drop_table("dataset_versions", schema="ops")
    for table in EXPORTS.split(", "):
        op.execute(f"ALTER POLICY own ON {table} TO boxoffice_reader")
    for table in SCOPED:
        for policy in ("publisher", "all_rows", "own"):
            op.execute(f"DROP POLICY {policy} ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute(
        f"REVOKE ALL ON ALL TABLES IN SCHEMA reporting, ops FROM {SCOPES};"
        f"REVOKE ALL ON SCHEMA reporting, ops FROM {SCOPES}"
    )
