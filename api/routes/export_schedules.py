"""Recurring exports: an export that is made again and again.

Belongs here: the endpoints of both sides, administrators and organizers, and how a recurring export
is shown. Does not belong here: when it is due (``exports.recurrence``), making its jobs
(``warehouse.export_schedules``, in Dagster), the jobs themselves (``api.routes.exports``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import psycopg
from fastapi import FastAPI, Query, Request
from fastapi import Path as Path_
from pydantic import Field

from api.answers import Answer
from api.calls import Caller, Calls, Parameters, Parts, Read
from api.database import Reading, Row
from api.export_requests import Asked, Page, check_reason, mine, write
from api.policy import Access
from api.principal import Principal
from api.problems import Kind, not_found
from exports.recurrence import Recurrence
from pipelines.settings import Settings
from warehouse.export_rights import remember_right

ADMIN = "/api/v1/admin/reports/schedules"
ORGANIZER = "/api/organizer/analytics/export/schedules"
ScheduleId = Annotated[UUID, Path_(description="`schedule_id` of a recurring export.")]
_Change = Literal["pause", "resume", "end"]

router = Calls("", "Recurring exports")
_SCHEDULE: dict[str, Any] = {
    "schedule_id": "7f0f3c1e-5a55-4b0e-8f1c-0d8b5c2f1a77",
    "type": "revenue",
    "filters": {"days": {"relative": "last_month"}},
    "columns": ["business_date", "currency", "gross_revenue"],
    "format": "xlsx",
    "options": {},
    "reason": None,
    "role": "admin",
    "organizer_id": None,
    "recurrence": {"kind": "cron", "expression": "0 8 1 * *", "time_zone": "Africa/Nairobi"},
    "next_due_at": "2026-04-01T05:00:00Z",
    "last_due_at": None,
    "last_missed": 0,
    "is_paused": False,
    "paused_at": None,
    "pause_reason": None,
    "consecutive_failures": 0,
    "created_at": "2026-03-10T08:00:00Z",
    "links": {"self": f"{ADMIN}/7f0f3c1e-5a55-4b0e-8f1c-0d8b5c2f1a77"},
}
_PAUSED = _SCHEDULE | {
    "is_paused": True,
    "paused_at": "2026-03-11T09:30:00Z",
    "pause_reason": "Paused by its owner.",
}
_META = {"time_zone": "Africa/Nairobi"}


class When(Parameters):
    """When it is due."""

    kind: Literal["cron", "rrule"] = "cron"
    expression: str = Field(
        description="Five cron fields (`0 8 * * mon`), or a DTSTART and an RRULE on a line each.",
        min_length=1,
        max_length=500,
    )
    time_zone: str | None = Field(
        None,
        description="IANA name, for its wall-clock times; the reporting time zone if left out.",
        min_length=1,
        max_length=64,
    )


class Recurring(Asked):
    """What is exported, and when."""

    filters: dict[str, Any] = Field(
        {},
        description="As of an export; where it takes days, also `{relative: last_month}`, counted"
        " from the day it is due.",
    )
    recurrence: When


def _creates(path: str, access: Access) -> None:
    @router.action(
        path,
        access=access,
        rate="export",
        status=201,
        shows=dict[str, Any],
        example={"data": _SCHEDULE, "meta": _META},
        problem_kinds=(Kind.TOO_LARGE,),
    )
    async def create_recurring_export(
        body: Recurring, request: Request, parts: Parts, caller: Caller
    ) -> Answer:
        """Make a recurring export; each time it is due it becomes an export of your own.

        Your right to it is checked again each time; where it does not hold it is paused and says
        why.
        """
        check_reason(caller, body.reason)

        def create(connection: psycopg.Connection[Row]) -> Any:
            from warehouse.export_schedules import Policy, create_schedule

            zone = parts.settings.time_zone
            when = body.recurrence
            remember_right(connection, caller.account, caller.role.value, caller.organizer_id)
            return create_schedule(
                connection,
                Policy(time_zone=zone),
                caller.account,
                caller.requester(body.reason),
                Recurrence(when.kind, when.expression, when.time_zone or zone),
                body.type,
                filters=body.filters,
                columns=body.columns,
                format_name=body.format,
                options=body.options,
            )

        made = vars(await write(request.app, create))
        return Answer(
            _shown(made, path),
            {"time_zone": parts.settings.time_zone},
            status=201,
            headers={"Location": f"{path}/{made['schedule_id']}"},
        )


def _lists(path: str, access: Access) -> None:
    @router.action(
        path,
        method="GET",
        access=access,
        shows=list[dict[str, Any]],
        example={"data": [_SCHEDULE], "meta": _META | {"next": None}},
        tabular=True,
    )
    async def own_recurring_exports(
        read: Read, parts: Parts, caller: Caller, query: Annotated[Page, Query()]
    ) -> Answer:
        """Your own recurring exports, the newest first; `meta.next` is the next page's cursor."""
        parameters = mine(caller, **query.parameters)
        rows = await read.rows("export_schedule_page", parameters, only=True)
        shown = [_shown(row, path) for row in rows[: query.limit]]
        meta = {"time_zone": parts.settings.time_zone, "next": query.next(rows, "schedule_id")}
        return Answer(shown, meta, table=lambda: shown)


def _shows(path: str, access: Access) -> None:
    @router.action(
        f"{path}/{{schedule:uuid}}",
        method="GET",
        access=access,
        shows=dict[str, Any],
        example={"data": _SCHEDULE, "meta": _META},
        problem_kinds=(Kind.NOT_FOUND,),
    )
    async def one_recurring_export(
        read: Read, parts: Parts, caller: Caller, schedule: ScheduleId
    ) -> Answer:
        """When your recurring export is due next, and why it is paused, if it is."""
        row = await _own(read, caller, schedule)
        return Answer(_shown(row, path), {"time_zone": parts.settings.time_zone})


def _ends(path: str, access: Access) -> None:
    @router.action(
        f"{path}/{{schedule:uuid}}",
        method="DELETE",
        access=access,
        rate="export",
        shows=dict[str, Any],
        example={"data": _PAUSED | {"next_due_at": None}, "meta": _META},
        problem_kinds=(Kind.NOT_FOUND,),
    )
    async def end_recurring_export(
        read: Read, request: Request, parts: Parts, caller: Caller, schedule: ScheduleId
    ) -> Answer:
        """End your recurring export; the exports it made stay."""
        row = await _own(read, caller, schedule)
        await _change(read, request.app, parts.settings, caller, schedule, "end")
        shown = _shown(row | {"next_due_at": None}, path)
        return Answer(shown, {"time_zone": parts.settings.time_zone})


def _pauses(path: str, access: Access) -> None:
    @router.action(
        f"{path}/{{schedule:uuid}}/{{change}}",
        access=access,
        rate="export",
        shows=dict[str, Any],
        example={"data": _PAUSED, "meta": _META},
        problem_kinds=(Kind.NOT_FOUND,),
    )
    async def pause_or_resume_recurring_export(
        read: Read,
        request: Request,
        parts: Parts,
        caller: Caller,
        schedule: ScheduleId,
        change: Literal["pause", "resume"],
    ) -> Answer:
        """Make no exports until it is resumed; or make them again, if they are still right."""
        await _own(read, caller, schedule)
        await _change(read, request.app, parts.settings, caller, schedule, change)
        row = await _own(read, caller, schedule)
        return Answer(_shown(row, path), {"time_zone": parts.settings.time_zone})


for _path, _access in ((ADMIN, Access.ADMIN_EXPORTS), (ORGANIZER, Access.ORGANIZER_EXPORTS)):
    _creates(_path, _access)
    _lists(_path, _access)
    _shows(_path, _access)
    _ends(_path, _access)
    _pauses(_path, _access)


async def _own(read: Reading, caller: Principal, schedule: UUID) -> Row:
    return await read.owned("export_schedule", mine(caller, schedule_id=schedule))


async def _change(
    read: Reading,
    app: FastAPI,
    settings: Settings,
    caller: Principal,
    schedule: UUID,
    change: _Change,
) -> None:
    await read.release()

    def apply(connection: psycopg.Connection[Row]) -> bool:
        from warehouse import export_schedules as schedules

        remember_right(connection, caller.account, caller.role.value, caller.organizer_id)
        try:
            match change:
                case "pause":
                    schedules.pause_schedule(connection, schedule, caller.account)
                case "resume":
                    policy = schedules.Policy(time_zone=settings.time_zone)
                    schedules.resume_schedule(connection, policy, schedule, caller.account)
                case "end":
                    schedules.end_schedule(connection, schedule, caller.account)
        except schedules.UnknownScheduleError:
            return False
        return True

    if not await write(app, apply):
        raise not_found()  # it was ended meanwhile


def _shown(row: Mapping[str, Any], path: str) -> dict[str, Any]:
    organizer = row["organizer_id"]
    return {
        "schedule_id": str(row["schedule_id"]),
        "type": row["dataset"],
        "filters": row["filters"],
        "columns": row["columns"],
        "format": row["format"],
        "options": row["options"],
        "reason": row["reason"],
        "role": row["role"],
        "organizer_id": None if organizer is None else str(organizer),
        "recurrence": {
            "kind": row["recurrence_kind"],
            "expression": row["recurrence"],
            "time_zone": row["time_zone"],
        },
        "next_due_at": row["next_due_at"],
        "last_due_at": row["last_due_at"],
        "last_missed": row["last_missed"],
        "is_paused": row["paused_at"] is not None,
        "paused_at": row["paused_at"],
        "pause_reason": row["pause_reason"],
        "consecutive_failures": row["consecutive_failures"],
        "created_at": row["created_at"],
        "links": {"self": f"{path}/{row['schedule_id']}"},
    }
