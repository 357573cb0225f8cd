"""The queue of export jobs, as sensors see it: which job is next, lost, or has a file to delete.

Belongs here: what happens to jobs without a requester or a run asking for it. Does not belong here:
what those two do (``warehouse.export_jobs``), or the sensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from warehouse.export_states import (
    Job,
    State,
    Transition,
    as_job,
    database_now,
    give_up,
    lock,
    move,
)
from warehouse.statements import statement


@dataclass(frozen=True)
class Queued:
    """A job that is to get a run; ``attempt`` is the one that the run will be."""

    job_id: UUID
    requester: str
    attempt: int


def next_queued(connection: psycopg.Connection[Any], limit: int) -> list[Queued]:
    """Jobs that need a run, at most ``limit``: requesters take turns, the oldest job first."""
    rows = connection.execute(statement("next_queued_exports"), {"limit": limit}).fetchall()
    return [Queued(**row) for row in rows]


def request_run(connection: psycopg.Connection[Any], queued: Queued) -> bool:
    """Note that a run of a job is requested, before it is.

    Returns:
        False where it needs none any more: it was cancelled, or a run was requested or began.
    """
    with connection.transaction():
        job, now = lock(connection, queued.job_id)
        if (
            job.state is not State.QUEUED
            or job.requested_at is not None
            or job.attempt + 1 != queued.attempt
        ):
            return False
        move(connection, job, Transition.REQUEST_RUN, {"requested_at": now})
        return True


def reap(
    connection: psycopg.Connection[Any],
    *,
    max_attempts: int,
    retry_after: timedelta,
    begin_within: timedelta,
    limit: int = 100,
) -> list[Job]:
    """Take jobs from runs that are gone: queue them again, or end them.

    Args:
        max_attempts: attempts a job has; after the last it fails.
        retry_after: how long a job waits for its next attempt.
        begin_within: how long after it was requested a run may take to begin.

    Returns:
        The jobs as they are now: queued, failed, or cancelled where they had been told to stop.
    """
    with connection.transaction():
        rows = connection.execute(
            statement("lost_export_jobs"), {"begin_within": begin_within, "limit": limit}
        ).fetchall()
        now = database_now(connection)
        reaped = []
        for row in rows:
            job = as_job(row)
            if job.state is State.RUNNING:
                why = f"run {job.leased_by} stopped while it worked on attempt {job.attempt}"
                advice = "its log says what ended it"
            else:
                why = f"the run of attempt {job.attempt + 1} was requested and never began"
                advice = "see whether the Dagster daemon runs and has room for export runs"
            error = (
                f"The export did not finish in {max_attempts} attempts. Ask for it again, with"
                f" fewer rows if it is large. For the operator: {why}; {advice}."
            )
            values = {} if job.state is State.RUNNING else {"attempt": job.attempt + 1}
            retry_at = now + retry_after
            reaped.append(give_up(connection, job, now, why, error, retry_at, max_attempts, values))
        return reaped


def expire(connection: psycopg.Connection[Any], limit: int = 100) -> list[Job]:
    """Mark succeeded jobs whose file has been kept long enough; ``files_to_delete`` comes next."""
    with connection.transaction():
        rows = connection.execute(
            statement("lock_expired_export_jobs"), {"limit": limit}
        ).fetchall()
        return [move(connection, as_job(row), Transition.EXPIRE, {}) for row in rows]


def files_to_delete(connection: psycopg.Connection[Any], limit: int = 100) -> list[str]:
    """Keys of files that only expired jobs use: none of them can be shared any more."""
    rows = connection.execute(statement("export_files_to_delete"), {"limit": limit}).fetchall()
    return [row["file_key"] for row in rows]


def record_deleted(connection: psycopg.Connection[Any], file_key: str) -> list[Job]:
    """Note that a file of ``files_to_delete`` is deleted.

    Returns:
        The expired jobs that used it.
    """
    with connection.transaction():
        rows = connection.execute(
            statement("lock_export_jobs_of_file"), {"file_key": file_key}
        ).fetchall()
        return [move(connection, as_job(row), Transition.DELETE_FILE, {}) for row in rows]
