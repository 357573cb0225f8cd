"""Exports: asking for a file, following it, getting it, cancelling it.

Belongs here: the endpoints of both sides, administrators and organizers, and how a job is shown.
Does not belong here: what may be asked for (``api.export_requests``), recurring exports
(``api.routes.export_schedules``), making the file (``exports.attempt``, in Dagster).

A job belongs to an account in the role and for the organizer that asked. Once the account has
another role or organizer, its jobs, and the links to their files, are out of its reach.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import FastAPI, Header, Query, Request
from fastapi import Path as Path_
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.responses import Response

from api.answers import Answer
from api.calls import Caller, Calls, Parts, Read
from api.database import Reading, Row
from api.export_requests import Asked, Page, Written, check_reason, mine, queue, write
from api.policy import Access
from api.principal import Principal
from api.problems import Kind, Problem, invalid, not_found
from exports.disclosure import file_access
from pipelines.settings import Settings
from warehouse.access_log import append_access
from warehouse.export_jobs import request_cancel
from warehouse.export_states import State, UnknownJobError

SMALL_TICKETS = 5_000
"""Tickets of an event up to which a download of its attendees is waited for."""
LONGEST_LINK = timedelta(minutes=15)
WAIT_SECONDS = 25.0
_POLL_SECONDS = (0.1, 0.2, 0.3, 0.5, 1.0)
_LARGEST_ANSWER = 16 * 2**20
_NEWEST = 2**63 - 1
_ENDED = (State.FAILED, State.CANCELLED, State.EXPIRED)

router = Calls("", "Exports")
ADMIN = "/api/v1/admin/reports/export"
ORGANIZER = "/api/organizer/analytics/export"

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Optional, and recommended: while a job exists, the same key with the same"
        " request gives that job instead of another; with another request it is refused (422)."
        " Without a key every call makes a job.",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
    ),
]
JobId = Annotated[UUID, Path_(description="`job_id` of an export.")]
EventId = Annotated[int, Path_(ge=1, le=_NEWEST, description="Event.")]

QUEUED: dict[str, Any] = {
    "job_id": "0a3e8a5e-6a34-4d7e-9f0c-3a1f7f7a9b10",
    "type": "attendees",
    "state": "queued",
    "progress": {"rows_written": 0, "rows_total": None},
    "is_cancel_requested": False,
    "filters": {"events": [1201], "kinds": ["admission"]},
    "columns": ["ticket_id", "attendee_name", "attendee_email"],
    "format": "csv",
    "options": {},
    "reason": None,
    "role": "admin",
    "organizer_id": None,
    "schedule_id": None,
    "attempt": 0,
    "error": None,
    "created_at": "2026-03-10T08:00:00Z",
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "links": {"self": f"{ADMIN}/0a3e8a5e-6a34-4d7e-9f0c-3a1f7f7a9b10"},
}
_META = {"time_zone": "Africa/Nairobi"}
_ENDED_JOB = QUEUED | {
    "state": "succeeded",
    "progress": {"rows_written": 840, "rows_total": 840},
    "attempt": 1,
    "started_at": "2026-03-10T08:00:02Z",
    "finished_at": "2026-03-10T08:00:04Z",
    "expires_at": "2026-03-17T08:00:04Z",
}
_WITH_FILE = _ENDED_JOB | {
    "file": {
        "name": "attendees-event-1201-as-of-2026-03-10.csv",
        "bytes": 91_204,
        "sha256": "5f2b6c1d6b0b9e8c2b7f0d9f4c2c2f5b3c1a9d8e7f6a5b4c3d2e1f0a9b8c7d6e",
        "link": {
            "url": "https://exports.example.org/exports/…?X-Amz-Expires=900&X-Amz-Signature=…",
            "expires_at": "2026-03-10T08:20:00Z",
        },
        "why_no_link": None,
    },
    "manifest": {"manifest_version": 1, "totals": {"rows": 840, "money": {}, "counts": {}}},
}
_CANCELLED = QUEUED | {
    "state": "cancelled",
    "is_cancel_requested": True,
    "finished_at": "2026-03-10T08:00:01Z",
}


def _of(path: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """An example of one side."""
    own = {} if path == ADMIN else {"role": "organizer", "organizer_id": "12"}
    return {**job, **own, "links": {"self": f"{path}/{job['job_id']}"}}


# --- Administrators -----------------------------------------------------------------------------


@router.action(
    ADMIN,
    access=Access.ADMIN_EXPORTS,
    rate="export",
    status=202,
    shows=dict[str, Any],
    example={"data": QUEUED, "meta": _META},
    problem_kinds=(Kind.TOO_LARGE,),
)
async def export(
    body: Asked, request: Request, parts: Parts, caller: Caller, key: Key = None
) -> Answer:
    """Queue an export of any dataset; `Location` is where to follow it."""
    check_reason(caller, body.reason)
    job = await queue(
        request.app, caller, body.type, body, body.filters, key=key, reason=body.reason
    )
    return _queued(vars(job), parts.settings, ADMIN)


class JobPage(Page):
    """Which jobs."""

    state: Literal[tuple(State)] | None = None  # type: ignore[valid-type]


def _lists(path: str, access: Access) -> None:
    @router.action(
        path,
        method="GET",
        access=access,
        shows=list[dict[str, Any]],
        example={"data": [_of(path, _ENDED_JOB)], "meta": _META | {"next": None}},
    )
    async def own_exports(
        read: Read, parts: Parts, caller: Caller, query: Annotated[JobPage, Query()]
    ) -> Answer:
        """Your own exports, the newest first; `meta.next` is the cursor of the next page."""
        parameters = mine(caller, state=query.state, **query.parameters)
        rows = await read.rows("export_job_page", parameters, only=True)
        shown = [_shown(row, path) for row in rows[: query.limit]]
        meta = {"time_zone": parts.settings.time_zone, "next": query.next(rows, "job_id")}
        return Answer(shown, meta, table=lambda: shown)


def _shows(path: str, access: Access) -> None:
    @router.action(
        f"{path}/{{job:uuid}}",
        method="GET",
        access=access,
        reads=("event_summary",),
        shows=dict[str, Any],
        example={"data": _of(path, _WITH_FILE), "meta": _META},
        problem_kinds=(Kind.NOT_FOUND,),
    )
    async def one_export(
        read: Read, request: Request, parts: Parts, caller: Caller, job: JobId
    ) -> Answer:
        """State and exact progress of your own export; its manifest and a link once it has a file.

        The link is made for this call, is valid for 15 minutes at most, and only where you still
        see every event that the export names. A link to clear personal data is recorded.
        """
        row = await _own(read, caller, job)
        await read.release()
        return await _detailed(row, request.app, parts.settings, path)


def _cancels(path: str, access: Access) -> None:
    @router.action(
        f"{path}/{{job:uuid}}",
        method="DELETE",
        access=access,
        reads=("event_summary",),
        rate="export",
        shows=dict[str, Any],
        example={"data": _of(path, _CANCELLED), "meta": _META},
        problem_kinds=(Kind.NOT_FOUND, Kind.CONFLICT),
    )
    async def cancel_export(
        read: Read, request: Request, parts: Parts, caller: Caller, job: JobId
    ) -> Answer:
        """Cancel your own export: a queued one at once, a running one as soon as its run stops.

        From then on it cannot succeed. One that has ended otherwise stays as it is (409).
        """
        await _own(read, caller, job)
        await read.release()
        try:
            found = await write(request.app, lambda c: request_cancel(c, job, caller.account))
        except UnknownJobError:
            raise not_found() from None
        if found.cancel_requested_at is None:
            raise Problem(Kind.CONFLICT, f"The export has ended already: it is {found.state}.")
        return Answer(_shown(vars(found), path), {"time_zone": parts.settings.time_zone})


for _path, _access in ((ADMIN, Access.ADMIN_EXPORTS), (ORGANIZER, Access.ORGANIZER_EXPORTS)):
    _lists(_path, _access)
    _shows(_path, _access)
    _cancels(_path, _access)

# --- Attendees of an event, for its organizer ---------------------------------------------------

_ATTENDEES = f"{ORGANIZER}/attendees/{{event}}"


class AttendeesBody(Written):
    """What is exported of an event's attendees."""

    filters: dict[str, Any] = Field(
        {},
        description="`status`, `ticket_types`, `kinds`, `sold` as `{first, last}`, `checked_in`,"
        " `search`, `include_test`.",
    )


@router.action(
    _ATTENDEES,
    access=Access.ORGANIZER_EXPORTS,
    reads=("event_summary",),
    rate="export",
    status=202,
    shows=dict[str, Any],
    example={"data": _of(ORGANIZER, QUEUED), "meta": _META},
    problem_kinds=(Kind.NOT_FOUND, Kind.TOO_LARGE),
)
async def export_attendees(
    read: Read,
    request: Request,
    parts: Parts,
    caller: Caller,
    event: EventId,
    body: AttendeesBody | None = None,
    key: Key = None,
) -> Answer:
    """Queue an export of an event's attendees; `Location` is where to follow it."""
    await read.owned("export_event", {"event_id": event})
    await read.release()
    asked = body or AttendeesBody()
    if "events" in asked.filters:
        raise invalid("body.filters.events", "the event is named by the path; leave it out")
    filters = {**asked.filters, "events": [event]}
    job = await queue(request.app, caller, "attendees", asked, filters, key=key)
    return _queued(vars(job), parts.settings, ORGANIZER)


@router.action(
    _ATTENDEES,
    method="GET",
    access=Access.ORGANIZER_EXPORTS,
    reads=("event_summary",),
    rate="export",
    shows=dict[str, Any],
    problem_kinds=(Kind.NOT_FOUND, Kind.CONFLICT),
)
async def download_attendees(
    read: Read, request: Request, parts: Parts, caller: Caller, event: EventId
) -> Response:
    """An event's attendees as CSV, at once while they are few; otherwise 303 to a job.

    Up to 5,000 tickets are waited for, 25 seconds at most. Whatever `Accept` says, a file is CSV.
    The event names alone are in the path; for filters and other formats use POST. A download of
    clear personal data is recorded.
    """
    found = await read.owned("export_event", {"event_id": event})
    prefix = f"download {event} "  # no key of a caller has a blank
    recent = await read.rows("export_recent_download", mine(caller, prefix=f"{prefix}%"))
    await read.release()
    if recent:
        job: UUID = recent[0]["job_id"]
    else:
        key = f"{prefix}{uuid4().hex}"
        made = await queue(
            request.app, caller, "attendees", Written(), {"events": [event]}, key=key
        )
        job = made.job_id
    seconds = WAIT_SECONDS if found["tickets_sold"] <= SMALL_TICKETS else 0.0
    row = await _until_ended(read, caller, job, seconds)
    if row["state"] == State.FAILED:
        raise Problem(Kind.CONFLICT, f"The file could not be made: {row['error']}")
    if row["state"] in _ENDED:
        raise Problem(Kind.CONFLICT, f"The export was {row['state']} meanwhile; ask again.")
    if row["state"] != State.SUCCEEDED or row["bytes"] > _LARGEST_ANSWER:
        return Answer(
            _shown(row, ORGANIZER),
            {"time_zone": parts.settings.time_zone},
            status=303,
            headers={"Location": f"{ORGANIZER}/{job}"},
        )
    if not row["sees_events"] or row["file_key"] is None:
        raise not_found()
    return await _file(row, request.app, parts.settings)


async def _until_ended(read: Reading, caller: Principal, job: UUID, seconds: float) -> Row:
    """The job once it has ended, or as it is when the time is up; holds no connection meanwhile."""
    deadline = time.monotonic() + seconds
    for attempt in range(10_000):
        row = await _own(read, caller, job)
        await read.release()
        if row["state"] not in (State.QUEUED, State.RUNNING):
            break
        pause = _POLL_SECONDS[min(attempt, len(_POLL_SECONDS) - 1)]
        if time.monotonic() + pause > deadline:
            break
        await asyncio.sleep(pause)
    return row


async def _file(row: Row, app: FastAPI, settings: Settings) -> Response:
    def load() -> tuple[bytes, str]:
        from resources.bucket import content_disposition

        return _bucket(settings).read_bytes(row["file_key"]), content_disposition(_name(row))

    content, disposition = await _from_store(load)
    await _record(app, row, "download")
    return Response(
        content,
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": disposition,
            "X-Export-Job": str(row["job_id"]),
        },
    )


# --- How a job is shown -------------------------------------------------------------------------


async def _own(read: Reading, caller: Principal, job: UUID) -> Row:
    return await read.owned("export_job", mine(caller, job_id=job))


def _queued(job: Mapping[str, Any], settings: Settings, path: str) -> Answer:
    return Answer(
        _shown(job, path),
        {"time_zone": settings.time_zone},
        status=202,
        headers={"Location": f"{path}/{job['job_id']}"},
    )


def _shown(job: Mapping[str, Any], path: str) -> dict[str, Any]:
    organizer, schedule = job["organizer_id"], job["schedule_id"]
    return {
        "job_id": str(job["job_id"]),
        "type": job["dataset"],
        "state": str(job["state"]),
        "progress": {"rows_written": job["rows_written"], "rows_total": job["rows_total"]},
        "is_cancel_requested": job["cancel_requested_at"] is not None,
        "filters": job["filters"],
        "columns": job["columns"],
        "format": job["format"],
        "options": job["options"],
        "reason": job["reason"],
        "role": job["role"],
        "organizer_id": None if organizer is None else str(organizer),
        "schedule_id": None if schedule is None else str(schedule),
        "attempt": job["attempt"],
        "error": job["error"],
        "created_at": job["created_at"],
        "started_at": job["started_at"],
        "finished_at": job["finished_at"],
        "expires_at": job["expires_at"],
        "links": {"self": f"{path}/{job['job_id']}"},
    }


async def _detailed(row: Row, app: FastAPI, settings: Settings, path: str) -> Answer:
    shown = _shown(row, path) | {"file": None, "manifest": row["manifest"]}
    if row["manifest"] is not None:
        left = row["expires_at"] - row["now"]
        valid = min(LONGEST_LINK, timedelta(seconds=int(left.total_seconds())))
        why = _why_no_link(row, valid)
        file = {
            "name": _name(row),
            "bytes": row["bytes"],
            "sha256": row["manifest"]["file"]["sha256"],
            "link": None,
            "why_no_link": why,
        }
        if why is None:
            url = await _from_store(lambda: _bucket(settings).presign(row["file_key"], valid))
            until = datetime.now(UTC).replace(microsecond=0) + valid
            await _record(app, row, "link")
            file["link"] = {"url": url, "expires_at": until}
        shown["file"] = file
    return Answer(shown, {"time_zone": settings.time_zone})


async def _record(app: FastAPI, row: Row, action: Literal["link", "download"]) -> None:
    """Note who is given clear personal data, before they are: without the note they are not."""
    access = file_access(row, row["requester"], action)
    if access is not None:
        await write(app, lambda connection: append_access(connection, access))


def _why_no_link(row: Row, valid: timedelta) -> str | None:
    if row["state"] != State.SUCCEEDED or row["file_key"] is None or valid.total_seconds() < 1:
        return "The file is deleted: ask for the export again."
    if not row["sees_events"]:
        return "An event of the export is not yours any more."
    return None


def _name(row: Row) -> str:
    name: str = row["manifest"]["file"]["name"]
    return name


async def _from_store(ask: Callable[[], Any]) -> Any:
    """What the bucket answers; asking it blocks, and its client takes half a second to make."""
    from resources.s3_requests import BucketError, ObjectMissingError

    try:
        return await asyncio.to_thread(ask)
    except ObjectMissingError:
        raise not_found() from None
    except BucketError as error:
        kind = Kind.UNAVAILABLE if error.is_transient else Kind.INTERNAL
        raise Problem(kind, "The store of exported files does not answer.") from error


def _bucket(settings: Settings) -> Any:
    from resources.bucket import Bucket

    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    return Bucket(
        name=settings.exports_bucket,
        region=settings.s3_region,
        endpoint_url=settings.s3_endpoint_url,
        access_key_id=key.get_secret_value() if key else None,
        secret_access_key=secret.get_secret_value() if secret else None,
        server_side_encryption=settings.exports_encryption or None,
        retry_seconds=3.0,
        timeout_seconds=5.0,
    )


def _document_download() -> None:
    """Say what the download answers besides a problem: a file, or where to find one."""
    for route in router.routes:
        if isinstance(route, APIRoute) and route.endpoint is download_attendees:
            route.responses[200] = {
                "description": "The file.",
                "content": {"text/csv": {"schema": {"type": "string"}}},
            }
            route.responses[303] = {
                "description": "It takes longer, or is large: `Location` is the job.",
                "headers": {"Location": {"schema": {"type": "string"}}},
                "content": {"application/json": {"schema": {"type": "object"}}},
            }


_document_download()
