"""Export jobs: from the request to a file, and to its end, whatever happens in between.

Belongs here: who may move a job, when, and what the job then has. Does not belong here: the states
and their transitions (``warehouse.export_states``), what is exported and who may ask for it
(``exports``), runs (``sensors``), files.

A run may be killed, or live on after it was given up. So a job belongs to an attempt, by a lease
that the attempt must renew, and only the attempt that has it can finish the job. Every instant is
the database's clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from warehouse.access_log import Access, append_access
from warehouse.export_states import (
    TRANSITIONS,
    Event,
    Job,
    State,
    Transition,
    as_job,
    give_up,
    lock,
    move,
    owned,
    record,
)
from warehouse.statements import statement


class IdempotencyConflictError(ValueError):
    """The idempotency key was used before, for another request."""


class LeaseLostError(RuntimeError):
    """The attempt does not have the job, any more or yet: it must stop and leave no file."""


class CancelRequestedError(LeaseLostError):
    """The requester cancelled: stop, leave no file, then call ``confirm_cancel``."""


class FileGoneError(RuntimeError):
    """The file that was to be shared is no longer there: write one."""


class RowCountError(ValueError):
    """The file does not have the rows that were counted before."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is asked for, validated by the caller; values are what JSON can hold.

    Attributes:
        role: ``admin``, ``super_admin`` or ``organizer``.
        organizer_id: organizer whose rows alone may be read; set for organizers, and only then.
        columns: names, in the order they are written.
        options: of the format and of language.
        reason: why a super admin wants personal data clear; None keeps it masked.
    """

    requester: str
    role: str
    organizer_id: int | None
    dataset: str
    filters: Mapping[str, object]
    columns: Sequence[str]
    format: str
    options: Mapping[str, object]
    reason: str | None = None

    @property
    def request_hash(self) -> str:
        """SHA-256 of all that is asked for, by whom and why."""
        return _hash(asdict(self))

    @property
    def content_hash(self) -> str:
        """SHA-256 of what decides the file's content, whoever asks and for whatever reason."""
        content = asdict(self) | {"clear": self.reason is not None}
        return _hash({k: v for k, v in content.items() if k not in ("requester", "reason")})


@dataclass(frozen=True)
class Lease:
    """The right of one attempt to work on a job and to finish it."""

    job_id: UUID
    attempt: int
    run_id: str


@dataclass(frozen=True, kw_only=True)
class FinishedFile:
    """A complete file, with its manifest, that is where ``key`` says."""

    key: str
    size: int
    rows: int
    manifest: Mapping[str, object]
    data_version: str


@dataclass(frozen=True)
class Page:
    """Jobs, newest first, and where the next page begins; None on the last one."""

    jobs: list[Job]
    next: tuple[datetime, UUID] | None


def create_job(
    connection: psycopg.Connection[Any],
    request: ExportRequest,
    idempotency_key: str,
    schedule_id: UUID | None = None,
) -> tuple[Job, bool]:
    """Queue a job, once for each key of a requester, however often it is asked for.

    Returns:
        The job, and whether this call made it.

    Raises:
        IdempotencyConflictError: the key belongs to a job for another request.
    """
    values = asdict(request) | {
        "filters": Jsonb(dict(request.filters)),
        "columns": Jsonb(list(request.columns)),
        "options": Jsonb(dict(request.options)),
        "idempotency_key": idempotency_key,
        "request_hash": request.request_hash,
        "content_hash": request.content_hash,
        "schedule_id": schedule_id,
        "state": TRANSITIONS[Transition.CREATE].target,
    }
    with connection.transaction():
        made = connection.execute(statement("insert_export_job"), values).fetchone()
        if made is not None:
            job = as_job(made)
            record(connection, job, Transition.CREATE, None, None, None)
            return job, True
        row = connection.execute(
            "SELECT * FROM ops.export_jobs WHERE requester = %s AND idempotency_key = %s",
            (request.requester, idempotency_key),
        ).fetchone()
        if row is None:
            raise RuntimeError("a job that has this idempotency key cannot be read")
        if row["request_hash"] != request.request_hash:
            raise IdempotencyConflictError(
                f"idempotency key {idempotency_key} was used for another request (export"
                f" {row['job_id']}): send that request again, or this one with a new key"
            )
        return as_job(row), False


def get_job(connection: psycopg.Connection[Any], job_id: UUID, requester: str | None = None) -> Job:
    """A job as it is now.

    Args:
        requester: whose it must be; None for anybody's.

    Raises:
        UnknownJobError: there is none, or it belongs to somebody else.
    """
    row = connection.execute(
        "SELECT * FROM ops.export_jobs WHERE job_id = %s", (job_id,)
    ).fetchone()
    return owned(row, job_id, requester)


def get_jobs(connection: psycopg.Connection[Any], job_ids: Iterable[UUID]) -> dict[UUID, Job]:
    """Those jobs that there are, by their id."""
    rows = connection.execute(
        "SELECT * FROM ops.export_jobs WHERE job_id = ANY(%s)", (sorted(set(job_ids)),)
    ).fetchall()
    return {job.job_id: job for job in map(as_job, rows)}


def list_jobs(
    connection: psycopg.Connection[Any],
    requester: str,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
) -> Page:
    """A requester's own jobs, newest first.

    Args:
        after: ``next`` of the page before.
    """
    rows = connection.execute(
        statement("list_export_jobs"),
        {
            "requester": requester,
            "at": after[0] if after else None,
            "id": after[1] if after else None,
            "limit": limit + 1,
        },
    ).fetchall()
    jobs = [as_job(row) for row in rows[:limit]]
    return Page(jobs, (jobs[-1].created_at, jobs[-1].job_id) if len(rows) > limit else None)


def history(connection: psycopg.Connection[Any], job_id: UUID) -> list[Event]:
    """Everything that happened to a job, in order."""
    rows = connection.execute(statement("export_job_history"), {"job_id": job_id}).fetchall()
    return [
        Event(
            **row
            | {
                "transition": Transition(row["transition"]),
                "from_state": State(row["from_state"]) if row["from_state"] else None,
                "to_state": State(row["to_state"]),
            }
        )
        for row in rows
    ]


def start(
    connection: psycopg.Connection[Any],
    job_id: UUID,
    attempt: int,
    run_id: str,
    lease: timedelta,
) -> tuple[Job, Lease]:
    """Begin an attempt: the job is the run's until the lease ends.

    Raises:
        LeaseLostError: this attempt is not the next one, or the job is not queued any more.
    """
    with connection.transaction():
        job, now = lock(connection, job_id)
        if job.state is not State.QUEUED or job.attempt + 1 != attempt:
            raise LeaseLostError(
                f"attempt {attempt} of export {job_id} may not begin: it is {_whereabouts(job)}"
            )
        values = {
            "attempt": attempt,
            "leased_by": run_id,
            "lease_until": now + lease,
            "started_at": now,
        }
        return move(connection, job, Transition.START, values), Lease(job_id, attempt, run_id)


def renew_lease(
    connection: psycopg.Connection[Any],
    lease: Lease,
    duration: timedelta,
    *,
    rows_total: int | None = None,
    rows_written: int | None = None,
) -> Job:
    """Keep the job for ``duration`` from now, and tell how far it is.

    Args:
        rows_total: rows counted, once known.
        rows_written: rows of them that are written.

    Raises:
        CancelRequestedError: the requester cancelled.
        LeaseLostError: another attempt has the job, or it came to an end.
    """
    values = asdict(lease) | {
        "lease": duration,
        "rows_total": rows_total,
        "rows_written": rows_written,
    }
    row = connection.execute(statement("renew_export_lease"), values).fetchone()
    if row is not None:
        return as_job(row)
    with connection.transaction():
        job, _ = _held(connection, lease)
        raise _cancelled(job)


def finish(
    connection: psycopg.Connection[Any],
    lease: Lease,
    file: FinishedFile,
    keep: timedelta,
    access: Access | None = None,
) -> Job:
    """The job succeeded: its file is complete and can be read.

    Args:
        keep: how long the file stays.
        access: recorded in the same transaction, where the file has personal data.

    Raises:
        CancelRequestedError: the requester cancelled before: delete the file.
        LeaseLostError: the attempt does not have the job any more: delete the file.
        RowCountError: the file has not the rows that were counted.
    """
    with connection.transaction():
        job, now = _held(connection, lease)
        if job.cancel_requested_at is not None:
            raise _cancelled(job)
        if job.rows_total is not None and job.rows_total != file.rows:
            raise RowCountError(
                f"export {job.job_id}: {job.rows_total} rows were counted, the file has {file.rows}"
            )
        values = {
            "file_key": file.key,
            "bytes": file.size,
            "manifest": Jsonb(dict(file.manifest)),
            "data_version": file.data_version,
        }
        return _succeed(connection, job, now, keep, file.rows, values, access)


def find_shareable(
    connection: psycopg.Connection[Any], job: Job, data_version: str, keep: timedelta
) -> Job | None:
    """A finished job with the same content on the same data, whose file stays ``keep`` or longer.

    Its requester may be another, but has the same role and scope.
    """
    row = connection.execute(
        statement("shareable_export_job"),
        {
            "job_id": job.job_id,
            "content_hash": job.content_hash,
            "data_version": data_version,
            "keep": keep,
        },
    ).fetchone()
    return as_job(row) if row else None


def finish_shared(
    connection: psycopg.Connection[Any],
    lease: Lease,
    source: Job,
    keep: timedelta,
    access: Access | None = None,
) -> Job:
    """The job succeeded with the file of another job (``find_shareable``).

    Raises:
        FileGoneError: that file expired meanwhile; the lease still stands.
        CancelRequestedError: the requester cancelled before.
        LeaseLostError: the attempt does not have the job any more.
    """
    with connection.transaction():
        job, now = _held(connection, lease)
        if job.cancel_requested_at is not None:
            raise _cancelled(job)
        # Locked, so that it does not expire before this job is seen to use its file as well.
        row = connection.execute(
            statement("lock_shareable_export_job"),
            {"job_id": source.job_id, "content_hash": job.content_hash},
        ).fetchone()
        if row is None:
            raise FileGoneError(f"export {source.job_id} has no file to share any more")
        values = {
            "file_key": row["file_key"],
            "bytes": row["bytes"],
            "manifest": Jsonb(row["manifest"]),
            "data_version": row["data_version"],
            "shared_from": row["shared_from"] or row["job_id"],
        }
        return _succeed(connection, job, now, keep, row["rows_total"], values, access)


def fail(
    connection: psycopg.Connection[Any],
    lease: Lease,
    error: str,
    *,
    retry_after: timedelta | None = None,
    max_attempts: int = 1,
) -> Job:
    """The attempt failed: so did the job, unless another attempt is due. Cancelled stays cancelled.

    Args:
        error: what is wrong and what to do; shown to the requester, so without personal data.
        retry_after: set where another attempt may help; how long to wait before it.
        max_attempts: attempts a job has at most.

    Raises:
        LeaseLostError: the attempt does not have the job any more.
    """
    with connection.transaction():
        job, now = _held(connection, lease)
        run_after = now + retry_after if retry_after is not None else None
        return give_up(connection, job, now, error, error, run_after, max_attempts)


def confirm_cancel(connection: psycopg.Connection[Any], lease: Lease) -> Job:
    """The run has stopped, as it was told to, and left no file.

    Raises:
        LeaseLostError: the attempt does not have the job any more, or nobody cancelled it.
    """
    with connection.transaction():
        job, now = _held(connection, lease)
        if job.cancel_requested_at is None:
            raise LeaseLostError(f"export {job.job_id} was not cancelled: it is running")
        return move(connection, job, Transition.CANCEL, {"finished_at": now})


def request_cancel(
    connection: psycopg.Connection[Any], job_id: UUID, requester: str | None = None
) -> Job:
    """Cancel a job: a queued one at once; a running one is told to stop and never succeeds.

    Args:
        requester: whose it must be; None for anybody's.

    Returns:
        The job: cancelled, running with ``cancel_requested_at``, or as it ended before.

    Raises:
        UnknownJobError: there is none, or it belongs to somebody else.
    """
    with connection.transaction():
        job, now = lock(connection, job_id, requester)
        if job.state is State.QUEUED:
            values = {"cancel_requested_at": now, "finished_at": now}
            return move(connection, job, Transition.CANCEL, values)
        if job.state is State.RUNNING and job.cancel_requested_at is None:
            return move(connection, job, Transition.REQUEST_CANCEL, {"cancel_requested_at": now})
        return job


def _succeed(
    connection: psycopg.Connection[Any],
    job: Job,
    now: datetime,
    keep: timedelta,
    rows: int,
    values: Mapping[str, object],
    access: Access | None,
) -> Job:
    ended = {
        "rows_total": rows,
        "rows_written": rows,
        "finished_at": now,
        "expires_at": now + keep,
    }
    done = move(connection, job, Transition.FINISH, {**values, **ended})
    if access is not None:
        append_access(connection, access)
    return done


def _held(connection: psycopg.Connection[Any], lease: Lease) -> tuple[Job, datetime]:
    job, now = lock(connection, lease.job_id)
    holder = (State.RUNNING, lease.attempt, lease.run_id)
    if (job.state, job.attempt, job.leased_by) != holder:
        raise LeaseLostError(
            f"attempt {lease.attempt} (run {lease.run_id}) lost export {lease.job_id}: it is"
            f" {_whereabouts(job)}"
        )
    return job, now


def _cancelled(job: Job) -> CancelRequestedError:
    return CancelRequestedError(f"export {job.job_id} was cancelled by its requester")


def _whereabouts(job: Job) -> str:
    held = f" in run {job.leased_by}" if job.leased_by else ""
    return f"{job.state}{held}, attempt {job.attempt}"


def _hash(value: Mapping[str, object]) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
