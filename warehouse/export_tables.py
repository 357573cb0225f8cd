"""The ops tables of exports: jobs and their history, recurring exports, who saw personal data.

Belongs here: columns, keys, constraints, indexes and comments. Does not belong here: writing rows
(``warehouse.export_states``, ``warehouse.access_log``), or row security and the function that
appends to the access log, which only the migration can make.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, UUID

from warehouse.tables import metadata

__all__ = [
    "ACCESS_LOG",
    "EXPORT_JOBS",
    "EXPORT_JOB_EVENTS",
    "EXPORT_RIGHTS",
    "EXPORT_SCHEDULES",
    "metadata",
]

_ROLES = "'admin', 'super_admin', 'organizer'"
_NOW = sa.text("clock_timestamp()")


def _text(name: str, comment: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), nullable=nullable, comment=comment)


def _json(name: str, comment: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, JSONB(), nullable=nullable, comment=comment)


def _maybe(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True, comment=comment)


def _now(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default=_NOW, comment=comment
    )


def _uuid(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(
        name,
        UUID(),
        primary_key=True,
        server_default=sa.text("gen_random_uuid()"),
        comment=comment,
    )


def _requested(who: str) -> tuple[sa.Column[object], ...]:
    """What is exported and for whom; the same for a job and for a schedule."""
    return (
        _text(who, "Account that asked for it."),
        _text("role", "Role of the account then: admin, super_admin or organizer."),
        sa.Column(
            "organizer_id",
            sa.BigInteger(),
            nullable=True,
            comment="Organizer whose rows alone may be read; none for admins: every organizer's.",
        ),
        _text("dataset", "Dataset to export, for example attendees."),
        _json("filters", "Validated filters; may name people in a search, so it is never logged."),
        _json("columns", "Column names, in the order they are written."),
        _text("format", "File format, for example csv."),
        _json("options", "Options of the format and of language."),
        _text(
            "reason",
            "Why personal data is wanted clear; none: it stays masked.",
            nullable=True,
        ),
    )


def _requested_checks() -> tuple[sa.CheckConstraint, ...]:
    return (
        sa.CheckConstraint(f"role IN ({_ROLES})", name="role"),
        sa.CheckConstraint("(role = 'organizer') = (organizer_id IS NOT NULL)", name="organizer"),
        sa.CheckConstraint(
            "jsonb_typeof(filters) = 'object' AND jsonb_typeof(columns) = 'array'"
            " AND jsonb_typeof(options) = 'object'",
            name="json",
        ),
        sa.CheckConstraint(
            "reason IS NULL OR (role = 'super_admin' AND btrim(reason) <> '')", name="reason"
        ),
    )


EXPORT_RIGHTS = sa.Table(
    "export_rights",
    metadata,
    sa.Column("account", sa.Text(), primary_key=True, comment="Account of the platform."),
    _text("role", "Its role when it was last seen; a viewer may own nothing."),
    sa.Column(
        "organizer_id",
        sa.BigInteger(),
        nullable=True,
        comment="Organizer it acted for then; none for admins.",
    ),
    _now("granted_at", "Since when it has this role and organizer."),
    _now("seen_at", "When it last proved them, to the hour; a right not seen for long is stale."),
    _maybe("revoked_at", "Since when the right is taken away; being seen does not give it back."),
    _text("revoked_reason", "Why, for its owner to read.", nullable=True),
    sa.CheckConstraint("btrim(account) <> ''", name="account"),
    sa.CheckConstraint(f"role IN ({_ROLES}, 'viewer')", name="role"),
    sa.CheckConstraint(
        "role = 'viewer' OR (role = 'organizer') = (organizer_id IS NOT NULL)", name="organizer"
    ),
    sa.CheckConstraint("seen_at >= granted_at", name="seen"),
    sa.CheckConstraint(
        "(revoked_at IS NULL) = (revoked_reason IS NULL) AND btrim(revoked_reason) <> ''",
        name="revoked",
    ),
    schema="ops",
    comment="Accounts that may own recurring exports, as their last verified call showed them.",
)

EXPORT_SCHEDULES = sa.Table(
    "export_schedules",
    metadata,
    _uuid("schedule_id", "Key."),
    *_requested("owner"),
    _text("recurrence_kind", "Language of recurrence: cron or rrule (RFC 5545)."),
    _text("recurrence", "When it is due: a cron expression or an RRULE with its DTSTART."),
    _text("time_zone", "IANA name of the time zone in which recurrence is read."),
    _maybe("next_due_at", "When the next job is due; none once the recurrence has ended."),
    _maybe("paused_at", "Since when it makes no jobs."),
    _text("pause_reason", "Why it is paused, for its owner to read.", nullable=True),
    sa.Column(
        "consecutive_failures",
        sa.Integer(),
        nullable=False,
        server_default="0",
        comment="Jobs that failed since the last one that succeeded.",
    ),
    _now("counted_from", "Jobs made before do not count as failures: it was resumed since."),
    _maybe("last_due_at", "Time for which it last made a job."),
    sa.Column(
        "last_missed",
        sa.Integer(),
        nullable=False,
        server_default="0",
        comment="Times it had come due before that and made no job: the last one stands for them.",
    ),
    _maybe("ended_at", "Since when it is gone for its owner; kept for the jobs that it made."),
    _now("created_at", "When it was made."),
    *_requested_checks(),
    sa.CheckConstraint("recurrence_kind IN ('cron', 'rrule')", name="recurrence_kind"),
    sa.CheckConstraint(
        "(paused_at IS NULL) = (pause_reason IS NULL) AND btrim(pause_reason) <> ''", name="paused"
    ),
    sa.CheckConstraint("consecutive_failures >= 0", name="consecutive_failures"),
    sa.CheckConstraint(
        "last_missed >= 0 AND (last_missed = 0 OR last_due_at IS NOT NULL)", name="last_missed"
    ),
    sa.CheckConstraint("ended_at IS NULL OR next_due_at IS NULL", name="ended"),
    sa.Index(
        "export_schedules_next_due_at_idx",
        "next_due_at",
        postgresql_where=sa.text("paused_at IS NULL"),
    ),
    sa.Index("export_schedules_owner_idx", "owner", "created_at"),
    schema="ops",
    comment="Recurring exports: each makes a job whenever it is due.",
)

EXPORT_JOBS = sa.Table(
    "export_jobs",
    metadata,
    _uuid("job_id", "Key; random, so that it cannot be guessed."),
    *_requested("requester"),
    _text("idempotency_key", "Chosen by the requester: the same key never makes a second job."),
    _text("request_hash", "SHA-256 of all that was asked for, to tell a key used twice."),
    _text("content_hash", "SHA-256 of what decides the rows; with data_version, of the file."),
    sa.Column(
        "schedule_id",
        UUID(),
        sa.ForeignKey("ops.export_schedules.schedule_id"),
        nullable=True,
        comment="Recurring export that made the job.",
    ),
    _text("state", "queued, running, succeeded, failed, cancelled or expired."),
    sa.Column(
        "attempt",
        sa.Integer(),
        nullable=False,
        server_default="0",
        comment="Attempts begun or lost so far; only the newest may finish the job.",
    ),
    _maybe("run_after", "No run is requested before; set while a retry waits."),
    _maybe("requested_at", "When a run was requested that has not begun yet."),
    _maybe("lease_until", "Until when the run has the job; it renews the lease while it works."),
    _text("leased_by", "Dagster run that has the job.", nullable=True),
    _maybe("cancel_requested_at", "When cancellation was asked for; such a job never succeeds."),
    sa.Column(
        "rows_total",
        sa.BigInteger(),
        nullable=True,
        comment="Rows counted before writing; none until counted.",
    ),
    sa.Column(
        "rows_written",
        sa.BigInteger(),
        nullable=False,
        server_default="0",
        comment="Rows written by the current attempt.",
    ),
    sa.Column("bytes", sa.BigInteger(), nullable=True, comment="Size of the file."),
    _text("file_key", "Object key; kept by an expired job until it is deleted.", nullable=True),
    _json("manifest", "What is in the file, with its SHA-256.", nullable=True),
    _text("data_version", "Version of the data in the file.", nullable=True),
    sa.Column(
        "shared_from",
        UUID(),
        sa.ForeignKey("ops.export_jobs.job_id"),
        nullable=True,
        comment="Job whose file this one uses: the same request on the same data version.",
    ),
    _text("error", "Why it failed and what to do; safe to show to the requester.", nullable=True),
    _now("created_at", "When it was asked for."),
    _maybe("started_at", "When the current attempt began."),
    _maybe("finished_at", "When it came to an end."),
    _maybe("expires_at", "When the file may be deleted."),
    *_requested_checks(),
    sa.CheckConstraint(
        "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')",
        name="state",
    ),
    sa.CheckConstraint(
        "btrim(idempotency_key) <> '' AND char_length(idempotency_key) <= 255",
        name="idempotency_key",
    ),
    sa.CheckConstraint("attempt >= 0 AND (state <> 'running' OR attempt > 0)", name="attempt"),
    sa.CheckConstraint(
        "(state = 'running') = (lease_until IS NOT NULL)"
        " AND (state = 'running') = (leased_by IS NOT NULL)",
        name="lease",
    ),
    sa.CheckConstraint(
        "num_nonnulls(run_after, requested_at) = 0 OR state = 'queued'", name="waiting"
    ),
    sa.CheckConstraint(
        "CASE state WHEN 'running' THEN true WHEN 'cancelled' THEN cancel_requested_at IS NOT NULL"
        " ELSE cancel_requested_at IS NULL END",
        name="cancel",
    ),
    sa.CheckConstraint(
        "CASE state"
        " WHEN 'succeeded' THEN num_nulls(file_key, manifest, data_version, bytes, rows_total) = 0"
        " WHEN 'expired' THEN num_nulls(manifest, data_version, bytes, rows_total) = 0"
        " ELSE num_nonnulls(file_key, manifest, data_version, bytes, shared_from) = 0 END",
        name="file",
    ),
    sa.CheckConstraint(
        "bytes >= 0 AND rows_total >= 0"
        " AND rows_written BETWEEN 0 AND coalesce(rows_total, 0)"
        " AND (state NOT IN ('succeeded', 'expired') OR rows_written = rows_total)",
        name="rows",
    ),
    sa.CheckConstraint(
        "(state = 'failed') = (error IS NOT NULL) AND btrim(error) <> ''", name="error"
    ),
    sa.CheckConstraint(
        "CASE WHEN state = 'queued' THEN started_at IS NULL"
        " WHEN state IN ('running', 'succeeded', 'expired') THEN started_at IS NOT NULL"
        " ELSE true END",
        name="started",
    ),
    sa.CheckConstraint("(finished_at IS NULL) = (state IN ('queued', 'running'))", name="finished"),
    sa.CheckConstraint(
        "(expires_at IS NOT NULL) = (state IN ('succeeded', 'expired'))", name="expires"
    ),
    sa.Index("export_jobs_idempotency_key_idx", "requester", "idempotency_key", unique=True),
    sa.Index(
        "export_jobs_requester_idx",
        "requester",
        sa.text("created_at DESC"),
        sa.text("job_id DESC"),
    ),
    sa.Index(
        "export_jobs_unfinished_idx",
        "requester",
        "created_at",
        postgresql_where=sa.text("finished_at IS NULL"),
    ),
    sa.Index(
        "export_jobs_content_hash_idx",
        "content_hash",
        "data_version",
        postgresql_where=sa.text("state = 'succeeded'"),
    ),
    sa.Index(
        "export_jobs_expires_at_idx",
        "expires_at",
        postgresql_where=sa.text("state = 'succeeded'"),
    ),
    sa.Index(
        "export_jobs_schedule_id_idx",
        "schedule_id",
        "finished_at",
        postgresql_where=sa.text("schedule_id IS NOT NULL"),
    ),
    sa.Index(
        "export_jobs_file_key_idx",
        "file_key",
        unique=True,
        postgresql_where=sa.text("shared_from IS NULL"),
    ),
    schema="ops",
    comment="Exports asked for: what, for whom, how far, and the file once there is one.",
)

EXPORT_JOB_EVENTS = sa.Table(
    "export_job_events",
    metadata,
    sa.Column(
        "event_id",
        sa.BigInteger(),
        sa.Identity(always=True),
        primary_key=True,
        comment="Order of what happened.",
    ),
    sa.Column(
        "job_id",
        UUID(),
        sa.ForeignKey("ops.export_jobs.job_id"),
        nullable=False,
        comment="The job.",
    ),
    _text("transition", "What happened, for example start."),
    _text("from_state", "State before; none where the job was made.", nullable=True),
    _text("to_state", "State after."),
    sa.Column("attempt", sa.Integer(), nullable=False, comment="Attempt after it."),
    _text("run_id", "Dagster run that had the job.", nullable=True),
    _text("detail", "Why; safe to show to the requester.", nullable=True),
    _now("happened_at", "When."),
    sa.Index("export_job_events_job_id_idx", "job_id", "event_id"),
    schema="ops",
    comment="Append-only: one row for each transition of an export job.",
)

ACCESS_LOG = sa.Table(
    "access_log",
    metadata,
    sa.Column(
        "entry",
        sa.BigInteger(),
        primary_key=True,
        autoincrement=False,
        comment="1, 2, 3 ... without a gap.",
    ),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="When it was recorded."),
    _text("actor", "Account that saw the data."),
    _text("role", "Role of the account then."),
    sa.Column(
        "organizer_id",
        sa.BigInteger(),
        nullable=True,
        comment="Organizer whose rows alone were read; none: every organizer's.",
    ),
    _text("action", "What was done, for example export."),
    sa.Column("job_id", UUID(), nullable=True, comment="Export job, if it was one."),
    _text("dataset", "Dataset that was read."),
    _json("filters", "Filters it was read with."),
    _json("clear_columns", "Columns with personal data that were shown clear."),
    _text("reason", "Why, as the actor gave it.", nullable=True),
    sa.Column("row_count", sa.BigInteger(), nullable=False, comment="Rows shown."),
    sa.Column(
        "previous_hash",
        BYTEA(),
        nullable=False,
        comment="Hash of the entry before; 32 zero bytes in the first.",
    ),
    sa.Column(
        "hash",
        BYTEA(),
        nullable=False,
        comment="SHA-256 of previous_hash and of this entry's content.",
    ),
    sa.CheckConstraint("entry > 0", name="entry"),
    sa.CheckConstraint("row_count >= 0", name="row_count"),
    sa.CheckConstraint("octet_length(previous_hash) = 32 AND octet_length(hash) = 32", name="hash"),
    sa.Index("access_log_actor_idx", "actor", "entry"),
    schema="ops",
    comment="Append-only and hash-chained: who was given personal data. Written only by "
    "ops.append_access, so that an entry changed or missing is found.",
)
