"""States of export jobs: which there are, what leads from one to another, and how it is recorded.

Belongs here: the table of transitions, and the only statements that change a state or write
``ops.export_job_events``. Does not belong here: who may do what, and when
(``warehouse.export_jobs``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from warehouse.statements import statement


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """It succeeded, and its file is deleted or about to be."""


class Transition(StrEnum):
    """What can happen to a job."""

    CREATE = "create"
    REQUEST_RUN = "request_run"
    START = "start"
    FINISH = "finish"
    FAIL = "fail"
    RETRY = "retry"
    """Back to the queue for another attempt."""
    REQUEST_CANCEL = "request_cancel"
    """A running job is told to stop; from then on it cannot succeed."""
    CANCEL = "cancel"
    EXPIRE = "expire"
    DELETE_FILE = "delete_file"


@dataclass(frozen=True)
class Rule:
    """From which states a transition leads, where to, and which columns lose their value."""

    sources: frozenset[State]
    target: State
    resets: Mapping[str, object] = field(default_factory=dict)


_NO_LEASE = {"lease_until": None, "leased_by": None}
_NOT_WAITING = {"run_after": None, "requested_at": None}
_UNFINISHED = frozenset({State.QUEUED, State.RUNNING})

TRANSITIONS: Mapping[Transition, Rule] = {
    Transition.CREATE: Rule(frozenset(), State.QUEUED),
    Transition.REQUEST_RUN: Rule(frozenset({State.QUEUED}), State.QUEUED),
    Transition.START: Rule(frozenset({State.QUEUED}), State.RUNNING, _NOT_WAITING),
    Transition.FINISH: Rule(frozenset({State.RUNNING}), State.SUCCEEDED, _NO_LEASE),
    Transition.FAIL: Rule(_UNFINISHED, State.FAILED, _NO_LEASE | _NOT_WAITING),
    Transition.RETRY: Rule(
        _UNFINISHED,
        State.QUEUED,
        _NO_LEASE | _NOT_WAITING | {"started_at": None, "rows_total": None, "rows_written": 0},
    ),
    Transition.REQUEST_CANCEL: Rule(frozenset({State.RUNNING}), State.RUNNING),
    Transition.CANCEL: Rule(_UNFINISHED, State.CANCELLED, _NO_LEASE | _NOT_WAITING),
    Transition.EXPIRE: Rule(frozenset({State.SUCCEEDED}), State.EXPIRED),
    Transition.DELETE_FILE: Rule(frozenset({State.EXPIRED}), State.EXPIRED, {"file_key": None}),
}
"""Every transition there is."""


class UnknownJobError(LookupError):
    """There is no such job, or not for this requester: the two cannot be told apart."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of ``ops.export_jobs``; the columns' comments say what each is."""

    job_id: UUID
    requester: str
    role: str
    organizer_id: int | None
    dataset: str
    filters: dict[str, Any]
    columns: list[str]
    format: str
    options: dict[str, Any]
    reason: str | None
    idempotency_key: str
    request_hash: str
    content_hash: str
    schedule_id: UUID | None
    state: State
    attempt: int
    run_after: datetime | None
    requested_at: datetime | None
    lease_until: datetime | None
    leased_by: str | None
    cancel_requested_at: datetime | None
    rows_total: int | None
    rows_written: int
    bytes: int | None
    file_key: str | None
    manifest: dict[str, Any] | None
    data_version: str | None
    shared_from: UUID | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None

    @property
    def scope(self) -> str:
        """Whose rows it may read, without naming an account: ``organizer-12``, ``admin``."""
        return self.role if self.organizer_id is None else f"organizer-{self.organizer_id}"


@dataclass(frozen=True)
class Event:
    """One transition of a job."""

    transition: Transition
    from_state: State | None
    to_state: State
    attempt: int
    run_id: str | None
    detail: str | None
    happened_at: datetime


def lock(
    connection: psycopg.Connection[Any], job_id: UUID, requester: str | None = None
) -> tuple[Job, datetime]:
    """A job, its row locked until the transaction ends, and the database's time after that."""
    row = connection.execute(
        "SELECT * FROM ops.export_jobs WHERE job_id = %s FOR UPDATE", (job_id,)
    ).fetchone()
    return owned(row, job_id, requester), database_now(connection)


def move(
    connection: psycopg.Connection[Any],
    job: Job,
    transition: Transition,
    values: Mapping[str, object],
    detail: str | None = None,
) -> Job:
    """Apply a transition to a job whose row the caller has locked, and record it."""
    rule = TRANSITIONS[transition]
    if job.state not in rule.sources:
        raise RuntimeError(f"export {job.job_id} is {job.state}: {transition} is not possible")
    columns = {**rule.resets, **values, "state": rule.target}
    row = connection.execute(
        sql.SQL("UPDATE ops.export_jobs SET {} WHERE job_id = %s RETURNING *").format(
            sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(c)) for c in columns)
        ),
        (*columns.values(), job.job_id),
    ).fetchone()
    moved = owned(row, job.job_id, None)
    record(connection, moved, transition, job.state, job.leased_by or moved.leased_by, detail)
    return moved


def give_up(
    connection: psycopg.Connection[Any],
    job: Job,
    now: datetime,
    why: str,
    error: str,
    run_after: datetime | None,
    max_attempts: int,
    values: Mapping[str, object] | None = None,
) -> Job:
    """End an attempt without a file: cancelled if so wanted, else another attempt, else failed."""
    values = values or {}
    attempt = values.get("attempt", job.attempt)
    if job.cancel_requested_at is not None:
        return move(connection, job, Transition.CANCEL, {**values, "finished_at": now}, why)
    if run_after is not None and isinstance(attempt, int) and attempt < max_attempts:
        return move(connection, job, Transition.RETRY, {**values, "run_after": run_after}, why)
    return move(
        connection, job, Transition.FAIL, {**values, "error": error, "finished_at": now}, why
    )


def record(
    connection: psycopg.Connection[Any],
    job: Job,
    transition: Transition,
    from_state: State | None,
    run_id: str | None,
    detail: str | None,
) -> None:
    """Append to the history of a job, which is in its new state."""
    connection.execute(
        statement("insert_export_job_event"),
        {
            "job_id": job.job_id,
            "transition": transition,
            "from_state": from_state,
            "to_state": job.state,
            "attempt": job.attempt,
            "run_id": run_id,
            "detail": detail,
        },
    )


def owned(row: Mapping[str, Any] | None, job_id: UUID, requester: str | None) -> Job:
    """The job of a row; ``UnknownJobError`` without one, or where it is somebody else's."""
    if row is None or requester not in (None, row["requester"]):
        raise UnknownJobError(f"there is no export {job_id}")
    return as_job(row)


def as_job(row: Mapping[str, Any]) -> Job:
    """The job of a row with all columns."""
    return Job(**{**row, "state": State(row["state"])})


def database_now(connection: psycopg.Connection[Any]) -> datetime:
    """The database's clock: the only one that leases are measured by."""
    row = connection.execute("SELECT clock_timestamp() AS now").fetchone()
    if row is None:
        raise RuntimeError("the warehouse has no clock")
    now: datetime = row["now"]
    return now
