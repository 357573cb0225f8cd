"""Recurring exports: what is asked for again and again, and the jobs it becomes.

Belongs here: making, pausing and ending a recurring export, and the job it makes when it is due.
Does not belong here: when it is due (``exports.recurrence``), what is right to ask for
(``exports.submission``), who may own one (``warehouse.export_rights``), or the sensor.

Nobody is there when it is due. So the owner's right and the request are checked again each time,
and where they do not hold it is paused, with a reason its owner can act on, and makes no job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from exports.filters import Problem, RequestError
from exports.masking import Requester, Role
from exports.recurrence import Recurrence
from exports.relative_days import resolve
from exports.submission import checked
from metrics.calendar import business_date
from warehouse.export_jobs import ExportRequest, IdempotencyConflictError, create_job
from warehouse.export_rights import RightError, check_right
from warehouse.export_states import Job, database_now
from warehouse.statements import statement

PAUSED_BY_OWNER = "Paused by its owner."


class UnknownScheduleError(LookupError):
    """There is no such recurring export, or not for this owner: the two cannot be told apart."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What holds for every recurring export.

    Attributes:
        time_zone: the reporting time zone, in which relative days are counted.
        stale_after: how long an owner's right holds without the account being seen.
        max_failures: jobs in a row that may fail before it is paused.
        max_schedules: how many an account may have.
    """

    time_zone: str
    stale_after: timedelta = timedelta(days=90)
    max_failures: int = 3
    max_schedules: int = 50


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A row of ``ops.export_schedules``; the columns' comments say what each is."""

    schedule_id: UUID
    owner: str
    role: str
    organizer_id: int | None
    dataset: str
    filters: dict[str, Any]
    columns: list[str]
    format: str
    options: dict[str, Any]
    reason: str | None
    recurrence_kind: str
    recurrence: str
    time_zone: str
    next_due_at: datetime | None
    paused_at: datetime | None
    pause_reason: str | None
    consecutive_failures: int
    counted_from: datetime
    last_due_at: datetime | None
    last_missed: int
    ended_at: datetime | None
    created_at: datetime

    @property
    def requester(self) -> Requester:
        """As whom its jobs are asked for."""
        role, organizer = Role(self.role), self.organizer_id
        return Requester(role=role, organizer_id=organizer, reason=self.reason)

    def read_recurrence(self) -> Recurrence:
        """When it is due; raises ``RequestError`` where that cannot be read any more."""
        return Recurrence(self.recurrence_kind, self.recurrence, self.time_zone)


@dataclass(frozen=True)
class SchedulePage:
    """Recurring exports, newest first, and where the next page begins; None on the last one."""

    schedules: list[Schedule]
    next: tuple[datetime, UUID] | None


@dataclass(frozen=True)
class Firing:
    """What came of a recurring export that was due.

    Attributes:
        schedule: as it is now; it is paused where there is no job.
        job: the job it made.
        missed: times it was due before, without a job: this one stands for them.
    """

    schedule: Schedule
    job: Job | None
    missed: int


def create_schedule(
    connection: psycopg.Connection[Any],
    policy: Policy,
    account: str,
    requester: Requester,
    recurrence: Recurrence,
    dataset: str,
    *,
    filters: object = None,
    columns: Sequence[str] | None = None,
    format_name: object = "csv",
    options: object = None,
) -> Schedule:
    """Make a recurring export, which must be right as its first job would be.

    Args:
        account: the owner; its right must be remembered (``warehouse.export_rights``).
        filters: as of an export; where they take days, also ``{"relative": "last_month"}``.

    Raises:
        RequestError: with every problem of the recurrence, or of the request, or because the
            account has as many as it may.
        RightError: the account may not own it.
    """
    with connection.transaction():
        # Locked, so that calls at the same time do not pass the limit together.
        check_right(
            connection,
            account,
            requester.role,
            requester.organizer_id,
            policy.stale_after,
            lock=True,
        )
        first = recurrence.check(database_now(connection))
        raw = {} if filters is None else filters
        request = _request(
            connection,
            policy,
            first,
            account,
            requester,
            dataset,
            filters=raw,
            columns=columns,
            format_name=format_name,
            options=options,
        )
        _check_room(connection, account, policy.max_schedules)
        values = {
            "owner": account,
            "role": request.role,
            "organizer_id": request.organizer_id,
            "dataset": request.dataset,
            "filters": Jsonb(raw),
            "columns": Jsonb(list(request.columns)),
            "format": request.format,
            "options": Jsonb(dict(request.options)),
            "reason": request.reason,
            "recurrence_kind": recurrence.kind,
            "recurrence": recurrence.expression,
            "time_zone": recurrence.time_zone,
            "next_due_at": first,
        }
        row = connection.execute(statement("insert_export_schedule"), values).fetchone()
        return _found(row, None)


def get_schedule(
    connection: psycopg.Connection[Any], schedule_id: UUID, owner: str | None = None
) -> Schedule:
    """A recurring export as it is now.

    Args:
        owner: whose it must be; None for anybody's.

    Raises:
        UnknownScheduleError: there is none, it was ended, or it belongs to somebody else.
    """
    row = connection.execute(
        "SELECT * FROM ops.export_schedules WHERE schedule_id = %s", (schedule_id,)
    ).fetchone()
    return _found(row, owner, schedule_id)


def list_schedules(
    connection: psycopg.Connection[Any],
    owner: str,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
) -> SchedulePage:
    """An account's own recurring exports, newest first.

    Args:
        after: ``next`` of the page before.
    """
    rows = connection.execute(
        statement("list_export_schedules"),
        {
            "owner": owner,
            "at": after[0] if after else None,
            "id": after[1] if after else None,
            "limit": limit + 1,
        },
    ).fetchall()
    found = [Schedule(**row) for row in rows[:limit]]
    more = len(rows) > limit
    return SchedulePage(found, (found[-1].created_at, found[-1].schedule_id) if more else None)


def list_every_schedule(connection: psycopg.Connection[Any]) -> list[Schedule]:
    """Every account's recurring exports, the next due first: for operators."""
    rows = connection.execute(statement("list_every_export_schedule")).fetchall()
    return [Schedule(**row) for row in rows]


def pause_schedule(
    connection: psycopg.Connection[Any],
    schedule_id: UUID,
    owner: str | None = None,
    reason: str = PAUSED_BY_OWNER,
) -> Schedule:
    """Make no jobs until it is resumed; one that is paused keeps its reason.

    Args:
        owner: whose it must be; None for anybody's.

    Raises:
        UnknownScheduleError: there is none, or not for this owner.
    """
    with connection.transaction():
        schedule = _lock(connection, schedule_id, owner)
        return schedule if schedule.paused_at else _pause(connection, schedule, reason)


def resume_schedule(
    connection: psycopg.Connection[Any],
    policy: Policy,
    schedule_id: UUID,
    owner: str | None = None,
) -> Schedule:
    """Make jobs again, from its next time on; failures so far do not count any more.

    Args:
        owner: whose it must be; None for anybody's.

    Raises:
        UnknownScheduleError: there is none, or not for this owner.
        RequestError: what is asked for does not hold any more, or the recurrence is over.
        RightError: the owner's right does not.
    """
    with connection.transaction():
        schedule = _lock(connection, schedule_id, owner)
        if schedule.paused_at is None:
            return schedule
        now = database_now(connection)
        first = schedule.read_recurrence().check(now)
        _check_again(connection, policy, schedule, first)
        values = {
            "paused_at": None,
            "pause_reason": None,
            "consecutive_failures": 0,
            "counted_from": now,
            "next_due_at": first,
        }
        return _update(connection, schedule, values)


def end_schedule(
    connection: psycopg.Connection[Any], schedule_id: UUID, owner: str | None = None
) -> None:
    """End a recurring export: it is gone, its jobs and their files stay.

    Args:
        owner: whose it must be; None for anybody's.

    Raises:
        UnknownScheduleError: there is none, or not for this owner.
    """
    with connection.transaction():
        schedule = _lock(connection, schedule_id, owner)
        values = {"ended_at": database_now(connection), "next_due_at": None}
        _update(connection, schedule, values)


def due(connection: psycopg.Connection[Any], limit: int) -> list[Schedule]:
    """Recurring exports that are due, the longest due first."""
    rows = connection.execute(statement("due_export_schedules"), {"limit": limit}).fetchall()
    return [Schedule(**row) for row in rows]


def fire(connection: psycopg.Connection[Any], policy: Policy, schedule_id: UUID) -> Firing | None:
    """Make the job of a recurring export that is due, once, and see when it is due next.

    If it came due several times it makes one job, as of the last of them.

    Returns:
        None where it is not due any more, or somebody else has it in hand.
    """
    with connection.transaction():
        row = connection.execute(
            statement("lock_due_export_schedule"), {"schedule_id": schedule_id}
        ).fetchone()
        if row is None:
            return None
        schedule = Schedule(**row)
        try:
            due_at, missed, following = _passed(schedule, database_now(connection))
            request = _check_again(connection, policy, schedule, due_at)
            # The key is the schedule's and the instant's: never a second job, whatever happens.
            key = f"schedule:{schedule_id}:{due_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            job, _ = create_job(connection, request, key, schedule_id)
        except (RequestError, RightError, IdempotencyConflictError) as error:
            return Firing(_pause(connection, schedule, f"No export was made: {error}"), None, 0)
        values = {"next_due_at": following, "last_due_at": due_at, "last_missed": missed}
        return Firing(_update(connection, schedule, values), job, missed)


def settle(connection: psycopg.Connection[Any], max_failures: int) -> list[Schedule]:
    """Count jobs that failed in a row; pause where they are ``max_failures`` or more.

    Returns:
        Those it paused.
    """
    counted = statement("export_schedule_failures")
    candidates = connection.execute(counted, {"schedule_id": None}).fetchall()
    paused = []
    for candidate in candidates:
        with connection.transaction():
            row = connection.execute(
                "SELECT * FROM ops.export_schedules WHERE schedule_id = %s FOR UPDATE SKIP LOCKED",
                (candidate["schedule_id"],),
            ).fetchone()
            # Counted once more: it may have been resumed, or counted by another, before the lock.
            now = connection.execute(counted, candidate).fetchone()
            if row is None or now is None:
                continue
            noted = _update(connection, Schedule(**row), {"consecutive_failures": now["failures"]})
            if now["failures"] >= max_failures:
                reason = (
                    f"{now['failures']} exports in a row failed. Put right what the last one says,"
                    f" then resume: {now['error']}"
                )
                paused.append(_pause(connection, noted, reason))
    return paused


def _passed(schedule: Schedule, now: datetime) -> tuple[datetime, int, datetime | None]:
    """The last time it was due, how many there were before, and the next one."""
    due_at, missed = schedule.next_due_at, 0
    if due_at is None:
        raise RuntimeError(f"recurring export {schedule.schedule_id} is never due")
    for following in schedule.read_recurrence().occurrences(due_at):
        if following > now:
            return due_at, missed, following
        due_at, missed = following, missed + 1
    return due_at, missed, None


def _check_again(
    connection: psycopg.Connection[Any], policy: Policy, schedule: Schedule, due_at: datetime
) -> ExportRequest:
    """The request as of a time it is due; raises where it, or the right to it, does not hold."""
    check_right(
        connection, schedule.owner, schedule.role, schedule.organizer_id, policy.stale_after
    )
    return _request(
        connection,
        policy,
        due_at,
        schedule.owner,
        schedule.requester,
        schedule.dataset,
        filters=schedule.filters,
        columns=schedule.columns,
        format_name=schedule.format,
        options=schedule.options,
    )


def _request(
    connection: psycopg.Connection[Any],
    policy: Policy,
    due_at: datetime,
    account: str,
    requester: Requester,
    dataset: str,
    *,
    filters: object,
    **asked: Any,
) -> ExportRequest:
    if isinstance(filters, Mapping):
        filters = resolve(filters, business_date(policy.time_zone, due_at))
    return checked(connection, account, requester, dataset, filters=filters, **asked)


def _check_room(connection: psycopg.Connection[Any], account: str, limit: int) -> None:
    row = connection.execute(
        "SELECT count(*) AS n FROM ops.export_schedules WHERE owner = %s AND ended_at IS NULL",
        (account,),
    ).fetchone()
    if row is None or row["n"] >= limit:
        message = f"the account has {limit} recurring exports, as many as it may: end one first"
        raise RequestError([Problem("recurrence", message)])


def _lock(connection: psycopg.Connection[Any], schedule_id: UUID, owner: str | None) -> Schedule:
    row = connection.execute(
        "SELECT * FROM ops.export_schedules WHERE schedule_id = %s FOR UPDATE", (schedule_id,)
    ).fetchone()
    return _found(row, owner, schedule_id)


def _pause(connection: psycopg.Connection[Any], schedule: Schedule, reason: str) -> Schedule:
    values = {"paused_at": database_now(connection), "pause_reason": reason}
    return _update(connection, schedule, values)


def _update(
    connection: psycopg.Connection[Any], schedule: Schedule, values: Mapping[str, object]
) -> Schedule:
    """Change a schedule whose row is locked."""
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values
    )
    row = connection.execute(
        sql.SQL("UPDATE ops.export_schedules SET {} WHERE schedule_id = %s RETURNING *").format(
            assignments
        ),
        (*values.values(), schedule.schedule_id),
    ).fetchone()
    if row is None:
        raise RuntimeError(f"recurring export {schedule.schedule_id} vanished while it was locked")
    return Schedule(**row)


def _found(
    row: Mapping[str, Any] | None, owner: str | None, schedule_id: UUID | None = None
) -> Schedule:
    if row is None or row["ended_at"] is not None or owner not in (None, row["owner"]):
        raise UnknownScheduleError(f"there is no recurring export {schedule_id}")
    return Schedule(**row)
