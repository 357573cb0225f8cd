"""Export jobs, recurring exports and the access log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


ACCESS_LOG = """
CREATE FUNCTION ops.access_hash(e ops.access_log) RETURNS bytea
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    -- Nothing in it may depend on the session: instants are microseconds since 1970.
    SELECT sha256(e.previous_hash || convert_to(jsonb_build_array(
        e.entry, (extract(epoch FROM e.at) * 1000000)::bigint, e.actor, e.role, e.organizer_id,
        e.action, e.job_id, e.dataset, e.filters, e.clear_columns, e.reason, e.row_count
    )::text, 'UTF8'))
$$;
COMMENT ON FUNCTION ops.access_hash IS 'Hash of an entry of the access log, from its content.';

CREATE FUNCTION ops.append_access(
    actor text, role text, organizer_id bigint, action text, job_id uuid, dataset text,
    filters jsonb, clear_columns jsonb, reason text, row_count bigint
) RETURNS ops.access_log
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    previous ops.access_log;
    added ops.access_log;
BEGIN
    -- Held to the end of the transaction: the next entry must see this one, or that it never was.
    PERFORM pg_advisory_xact_lock(hashtextextended('ops.access_log', 0));
    SELECT * INTO previous FROM ops.access_log ORDER BY entry DESC LIMIT 1;
    added := ROW(
        coalesce(previous.entry, 0) + 1, clock_timestamp(), actor, role, organizer_id, action, job_id,
        dataset, filters, clear_columns, reason, row_count,
        coalesce(previous.hash, decode(repeat('00', 32), 'hex')), NULL
    )::ops.access_log;
    added.hash := ops.access_hash(added);
    INSERT INTO ops.access_log SELECT (added).*;
    RETURN added;
END $$;
COMMENT ON FUNCTION ops.append_access IS
    'Appends to the access log: the only way to write it, one at a time.';
REVOKE EXECUTE ON FUNCTION ops.append_access, ops.access_hash FROM PUBLIC;
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE ON ops.export_jobs, ops.export_schedules TO boxoffice_publisher;
GRANT SELECT, INSERT ON ops.export_job_events TO boxoffice_publisher;
GRANT SELECT ON ops.access_log TO boxoffice_publisher;
GRANT EXECUTE ON FUNCTION ops.append_access, ops.access_hash TO boxoffice_publisher;
GRANT SELECT ON ops.export_jobs, ops.export_job_events, ops.export_schedules TO boxoffice_reader;

-- Readers see what belongs to the account that their session names; of the access log nothing,
-- also after a later GRANT ON ALL TABLES.
ALTER TABLE ops.export_jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE ops.export_job_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE ops.export_schedules ENABLE ROW LEVEL SECURITY;
ALTER TABLE ops.access_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY publisher ON ops.export_jobs TO boxoffice_publisher USING (true);
CREATE POLICY publisher ON ops.export_job_events TO boxoffice_publisher USING (true);
CREATE POLICY publisher ON ops.export_schedules TO boxoffice_publisher USING (true);
CREATE POLICY publisher ON ops.access_log FOR SELECT TO boxoffice_publisher USING (true);
CREATE POLICY own ON ops.export_jobs FOR SELECT TO boxoffice_reader
    USING (requester = current_setting('boxoffice.requester', true));
CREATE POLICY own ON ops.export_schedules FOR SELECT TO boxoffice_reader
    USING (owner = current_setting('boxoffice.requester', true));
CREATE POLICY own ON ops.export_job_events FOR SELECT TO boxoffice_reader
    USING (EXISTS (SELECT FROM ops.export_jobs AS j WHERE j.job_id = export_job_events.job_id));
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "access_log",
        sa.Column(
            "entry",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="1, 2, 3 ... without a gap.",
        ),
        sa.Column(
            "at", sa.DateTime(timezone=True), nullable=False, comment="When it was recorded."
        ),
        sa.Column("actor", sa.Text(), nullable=False, comment="Account that saw the data."),
        sa.Column("role", sa.Text(), nullable=False, comment="Role of the account then."),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            nullable=True,
            comment="Organizer whose rows alone were read; none: every organizer's.",
        ),
        sa.Column(
            "action", sa.Text(), nullable=False, comment="What was done, for example export."
        ),
        sa.Column("job_id", sa.UUID(), nullable=True, comment="Export job, if it was one."),
        sa.Column("dataset", sa.Text(), nullable=False, comment="Dataset that was read."),
        sa.Column(
            "filters",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Filters it was read with.",
        ),
        sa.Column(
            "clear_columns",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Columns with personal data that were shown clear.",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why, as the actor gave it."),
        sa.Column("row_count", sa.BigInteger(), nullable=False, comment="Rows shown."),
        sa.Column(
            "previous_hash",
            postgresql.BYTEA(),
            nullable=False,
            comment="Hash of the entry before; 32 zero bytes in the first.",
        ),
        sa.Column(
            "hash",
            postgresql.BYTEA(),
            nullable=False,
            comment="SHA-256 of previous_hash and of this entry's content.",
        ),
        sa.CheckConstraint("entry > 0", name=op.f("access_log_entry_check")),
        sa.CheckConstraint(
            "octet_length(previous_hash) = 32 AND octet_length(hash) = 32",
            name=op.f("access_log_hash_check"),
        ),
        sa.CheckConstraint("row_count >= 0", name=op.f("access_log_row_count_check")),
        sa.PrimaryKeyConstraint("entry", name=op.f("access_log_pkey")),
        schema="ops",
        comment="Append-only and hash-chained: who was given personal data. Written only by ops.append_access, so that an entry changed or missing is found.",
    )
    op.create_index(
        "access_log_actor_idx", "access_log", ["actor", "entry"], unique=False, schema="ops"
    )
    op.create_table(
        "export_schedules",
        sa.Column(
            "schedule_id",
            sa.UUID(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Key.",
        ),
        sa.Column("owner", sa.Text(), nullable=False, comment="Account that asked for it."),
        sa.Column(
            "role",
            sa.Text(),
            nullable=False,
            comment="Role of the account then: admin, super_admin or organizer.",
        ),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            nullable=True,
            comment="Organizer whose rows alone may be read; none for admins: every organizer's.",
        ),
        sa.Column(
            "dataset",
            sa.Text(),
            nullable=False,
            comment="Dataset to export, for example attendees.",
        ),
        sa.Column(
            "filters",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Validated filters; may name people in a search, so it is never logged.",
        ),
        sa.Column(
            "columns",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Column names, in the order they are written.",
        ),
        sa.Column("format", sa.Text(), nullable=False, comment="File format, for example csv."),
        sa.Column(
            "options",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Options of the format and of language.",
        ),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=True,
            comment="Why personal data is wanted clear; none: it stays masked.",
        ),
        sa.Column(
            "recurrence_kind",
            sa.Text(),
            nullable=False,
            comment="Language of recurrence: cron or rrule (RFC 5545).",
        ),
        sa.Column(
            "recurrence",
            sa.Text(),
            nullable=False,
            comment="When it is due: a cron expression or an RRULE with its DTSTART.",
        ),
        sa.Column(
            "time_zone",
            sa.Text(),
            nullable=False,
            comment="IANA name of the time zone in which recurrence is read.",
        ),
        sa.Column(
            "next_due_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the next job is due; none once the recurrence has ended.",
        ),
        sa.Column(
            "paused_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Since when it makes no jobs.",
        ),
        sa.Column(
            "pause_reason",
            sa.Text(),
            nullable=True,
            comment="Why it is paused, for its owner to read.",
        ),
        sa.Column(
            "consecutive_failures",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Jobs that failed since the last one that succeeded.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it was made.",
        ),
        sa.CheckConstraint(
            "(paused_at IS NULL) = (pause_reason IS NULL) AND btrim(pause_reason) <> ''",
            name=op.f("export_schedules_paused_check"),
        ),
        sa.CheckConstraint(
            "(role = 'organizer') = (organizer_id IS NOT NULL)",
            name=op.f("export_schedules_organizer_check"),
        ),
        sa.CheckConstraint(
            "jsonb_typeof(filters) = 'object' AND jsonb_typeof(columns) = 'array' AND jsonb_typeof(options) = 'object'",
            name=op.f("export_schedules_json_check"),
        ),
        sa.CheckConstraint(
            "reason IS NULL OR (role = 'super_admin' AND btrim(reason) <> '')",
            name=op.f("export_schedules_reason_check"),
        ),
        sa.CheckConstraint(
            "recurrence_kind IN ('cron', 'rrule')",
            name=op.f("export_schedules_recurrence_kind_check"),
        ),
        sa.CheckConstraint(
            "role IN ('admin', 'super_admin', 'organizer')",
            name=op.f("export_schedules_role_check"),
        ),
        sa.CheckConstraint(
            "consecutive_failures >= 0", name=op.f("export_schedules_consecutive_failures_check")
        ),
        sa.PrimaryKeyConstraint("schedule_id", name=op.f("export_schedules_pkey")),
        schema="ops",
        comment="Recurring exports: each makes a job whenever it is due.",
    )
    op.create_index(
        "export_schedules_next_due_at_idx",
        "export_schedules",
        ["next_due_at"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("paused_at IS NULL"),
    )
    op.create_index(
        "export_schedules_owner_idx",
        "export_schedules",
        ["owner", "created_at"],
        unique=False,
        schema="ops",
    )
    op.create_table(
        "export_jobs",
        sa.Column(
            "job_id",
            sa.UUID(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Key; random, so that it cannot be guessed.",
        ),
        sa.Column("requester", sa.Text(), nullable=False, comment="Account that asked for it."),
        sa.Column(
            "role",
            sa.Text(),
            nullable=False,
            comment="Role of the account then: admin, super_admin or organizer.",
        ),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            nullable=True,
            comment="Organizer whose rows alone may be read; none for admins: every organizer's.",
        ),
        sa.Column(
            "dataset",
            sa.Text(),
            nullable=False,
            comment="Dataset to export, for example attendees.",
        ),
        sa.Column(
            "filters",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Validated filters; may name people in a search, so it is never logged.",
        ),
        sa.Column(
            "columns",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Column names, in the order they are written.",
        ),
        sa.Column("format", sa.Text(), nullable=False, comment="File format, for example csv."),
        sa.Column(
            "options",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Options of the format and of language.",
        ),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=True,
            comment="Why personal data is wanted clear; none: it stays masked.",
        ),
        sa.Column(
            "idempotency_key",
            sa.Text(),
            nullable=False,
            comment="Chosen by the requester: the same key never makes a second job.",
        ),
        sa.Column(
            "request_hash",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of all that was asked for, to tell a key used twice.",
        ),
        sa.Column(
            "content_hash",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of what decides the rows; with data_version, of the file.",
        ),
        sa.Column(
            "schedule_id", sa.UUID(), nullable=True, comment="Recurring export that made the job."
        ),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="queued, running, succeeded, failed, cancelled or expired.",
        ),
        sa.Column(
            "attempt",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Attempts begun or lost so far; only the newest may finish the job.",
        ),
        sa.Column(
            "run_after",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="No run is requested before; set while a retry waits.",
        ),
        sa.Column(
            "requested_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a run was requested that has not begun yet.",
        ),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Until when the run has the job; it renews the lease while it works.",
        ),
        sa.Column("leased_by", sa.Text(), nullable=True, comment="Dagster run that has the job."),
        sa.Column(
            "cancel_requested_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When cancellation was asked for; such a job never succeeds.",
        ),
        sa.Column(
            "rows_total",
            sa.BigInteger(),
            nullable=True,
            comment="Rows counted before writing; none until counted.",
        ),
        sa.Column(
            "rows_written",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Rows written by the current attempt.",
        ),
        sa.Column("bytes", sa.BigInteger(), nullable=True, comment="Size of the file."),
        sa.Column(
            "file_key",
            sa.Text(),
            nullable=True,
            comment="Object key; kept by an expired job until it is deleted.",
        ),
        sa.Column(
            "manifest",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="What is in the file, with its SHA-256.",
        ),
        sa.Column(
            "data_version", sa.Text(), nullable=True, comment="Version of the data in the file."
        ),
        sa.Column(
            "shared_from",
            sa.UUID(),
            nullable=True,
            comment="Job whose file this one uses: the same request on the same data version.",
        ),
        sa.Column(
            "error",
            sa.Text(),
            nullable=True,
            comment="Why it failed and what to do; safe to show to the requester.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it was asked for.",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the current attempt began.",
        ),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it came to an end.",
        ),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the file may be deleted.",
        ),
        sa.CheckConstraint(
            "(expires_at IS NOT NULL) = (state IN ('succeeded', 'expired'))",
            name=op.f("export_jobs_expires_check"),
        ),
        sa.CheckConstraint(
            "(finished_at IS NULL) = (state IN ('queued', 'running'))",
            name=op.f("export_jobs_finished_check"),
        ),
        sa.CheckConstraint(
            "(role = 'organizer') = (organizer_id IS NOT NULL)",
            name=op.f("export_jobs_organizer_check"),
        ),
        sa.CheckConstraint(
            "(state = 'failed') = (error IS NOT NULL) AND btrim(error) <> ''",
            name=op.f("export_jobs_error_check"),
        ),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL) AND (state = 'running') = (leased_by IS NOT NULL)",
            name=op.f("export_jobs_lease_check"),
        ),
        sa.CheckConstraint(
            "CASE WHEN state = 'queued' THEN started_at IS NULL WHEN state IN ('running', 'succeeded', 'expired') THEN started_at IS NOT NULL ELSE true END",
            name=op.f("export_jobs_started_check"),
        ),
        sa.CheckConstraint(
            "CASE state WHEN 'running' THEN true WHEN 'cancelled' THEN cancel_requested_at IS NOT NULL ELSE cancel_requested_at IS NULL END",
            name=op.f("export_jobs_cancel_check"),
        ),
        sa.CheckConstraint(
            "CASE state WHEN 'succeeded' THEN num_nulls(file_key, manifest, data_version, bytes, rows_total) = 0 WHEN 'expired' THEN num_nulls(manifest, data_version, bytes, rows_total) = 0 ELSE num_nonnulls(file_key, manifest, data_version, bytes, shared_from) = 0 END",
            name=op.f("export_jobs_file_check"),
        ),
        sa.CheckConstraint(
            "attempt >= 0 AND (state <> 'running' OR attempt > 0)",
            name=op.f("export_jobs_attempt_check"),
        ),
        sa.CheckConstraint(
            "btrim(idempotency_key) <> '' AND char_length(idempotency_key) <= 255",
            name=op.f("export_jobs_idempotency_key_check"),
        ),
        sa.CheckConstraint(
            "bytes >= 0 AND rows_total >= 0 AND rows_written BETWEEN 0 AND coalesce(rows_total, 0) AND (state NOT IN ('succeeded', 'expired') OR rows_written = rows_total)",
            name=op.f("export_jobs_rows_check"),
        ),
        sa.CheckConstraint(
            "jsonb_typeof(filters) = 'object' AND jsonb_typeof(columns) = 'array' AND jsonb_typeof(options) = 'object'",
            name=op.f("export_jobs_json_check"),
        ),
        sa.CheckConstraint(
            "num_nonnulls(run_after, requested_at) = 0 OR state = 'queued'",
            name=op.f("export_jobs_waiting_check"),
        ),
        sa.CheckConstraint(
            "reason IS NULL OR (role = 'super_admin' AND btrim(reason) <> '')",
            name=op.f("export_jobs_reason_check"),
        ),
        sa.CheckConstraint(
            "role IN ('admin', 'super_admin', 'organizer')", name=op.f("export_jobs_role_check")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')",
            name=op.f("export_jobs_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["ops.export_schedules.schedule_id"],
        ),
        sa.ForeignKeyConstraint(
            ["shared_from"],
            ["ops.export_jobs.job_id"],
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("export_jobs_pkey")),
        schema="ops",
        comment="Exports asked for: what, for whom, how far, and the file once there is one.",
    )
    op.create_index(
        "export_jobs_content_hash_idx",
        "export_jobs",
        ["content_hash", "data_version"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("state = 'succeeded'"),
    )
    op.create_index(
        "export_jobs_expires_at_idx",
        "export_jobs",
        ["expires_at"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("state = 'succeeded'"),
    )
    op.create_index(
        "export_jobs_file_key_idx",
        "export_jobs",
        ["file_key"],
        unique=True,
        schema="ops",
        postgresql_where=sa.text("shared_from IS NULL"),
    )
    op.create_index(
        "export_jobs_idempotency_key_idx",
        "export_jobs",
        ["requester", "idempotency_key"],
        unique=True,
        schema="ops",
    )
    op.create_index(
        "export_jobs_requester_idx",
        "export_jobs",
        ["requester", sa.literal_column("created_at DESC"), sa.literal_column("job_id DESC")],
        unique=False,
        schema="ops",
    )
    op.create_index(
        "export_jobs_unfinished_idx",
        "export_jobs",
        ["requester", "created_at"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "export_job_events",
        sa.Column(
            "event_id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order of what happened.",
        ),
        sa.Column("job_id", sa.UUID(), nullable=False, comment="The job."),
        sa.Column(
            "transition", sa.Text(), nullable=False, comment="What happened, for example start."
        ),
        sa.Column(
            "from_state",
            sa.Text(),
            nullable=True,
            comment="State before; none where the job was made.",
        ),
        sa.Column("to_state", sa.Text(), nullable=False, comment="State after."),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Attempt after it."),
        sa.Column("run_id", sa.Text(), nullable=True, comment="Dagster run that had the job."),
        sa.Column(
            "detail", sa.Text(), nullable=True, comment="Why; safe to show to the requester."
        ),
        sa.Column(
            "happened_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When.",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["ops.export_jobs.job_id"],
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("export_job_events_pkey")),
        schema="ops",
        comment="Append-only: one row for each transition of an export job.",
    )
    op.create_index(
        "export_job_events_job_id_idx",
        "export_job_events",
        ["job_id", "event_id"],
        unique=False,
        schema="ops",
    )
    op.execute(ACCESS_LOG)
    op.execute(GRANTS)


def downgrade() -> None:
    """Revert."""
    op.execute("DROP FUNCTION ops.append_access; DROP FUNCTION ops.access_hash(ops.access_log)")
    op.drop_index("export_job_events_job_id_idx", table_name="export_job_events", schema="ops")
    op.drop_table("export_job_events", schema="ops")
    op.drop_index(
        "export_jobs_unfinished_idx",
        table_name="export_jobs",
        schema="ops",
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.drop_index("export_jobs_requester_idx", table_name="export_jobs", schema="ops")
    op.drop_index("export_jobs_idempotency_key_idx", table_name="export_jobs", schema="ops")
    op.drop_index(
        "export_jobs_file_key_idx",
        table_name="export_jobs",
        schema="ops",
        postgresql_where=sa.text("shared_from IS NULL"),
    )
    op.drop_index(
        "export_jobs_expires_at_idx",
        table_name="export_jobs",
        schema="ops",
        postgresql_where=sa.text("state = 'succeeded'"),
    )
    op.drop_index(
        "export_jobs_content_hash_idx",
        table_name="export_jobs",
        schema="ops",
        postgresql_where=sa.text("state = 'succeeded'"),
    )
    op.drop_table("export_jobs", schema="ops")
    op.drop_index("export_schedules_owner_idx", table_name="export_schedules", schema="ops")
    op.drop_index(
        "export_schedules_next_due_at_idx",
        table_name="export_schedules",
        schema="ops",
        postgresql_where=sa.text("paused_at IS NULL"),
    )
    op.drop_table("export_schedules", schema="ops")
    op.drop_index("access_log_actor_idx", table_name="access_log", schema="ops")
    op.drop_table("access_log", schema="ops")
