"""Names of exported files and of their objects in the bucket.

Belongs here: keys, file names, and reading a key back. Does not belong here: the bucket itself
(``resources.bucket``).

Both are made of names of datasets, numbers and dates only: nothing anybody typed and nothing
personal is in a key, a link or a log of the object store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID
from zoneinfo import ZoneInfo

from exports.filters import Days
from exports.reading import ExportRows
from exports.requests import ExportRequest
from resources.bucket import PREFIX, content_disposition
from warehouse.export_states import Job

MANIFEST_SUFFIX = ".manifest.json"
_KEY = re.compile(
    re.escape(PREFIX) + r"\d{4}-\d{2}-\d{2}/(?P<scope>admin|super_admin|organizer-[1-9]\d*)"
    r"/(?P<job>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/(?P<attempt>[1-9]\d*)"
    r"/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)"
)


@dataclass(frozen=True)
class KeyParts:
    """What a key of ours says.

    Attributes:
        scope: ``admin``, ``super_admin`` or ``organizer-<id>``.
        attempt: of the job, from 1.
        name: of the file, or of its manifest.
    """

    scope: str
    job_id: UUID
    attempt: int
    name: str


def file_key(job: Job, name: str, time_zone: str) -> str:
    """Key of the file that the job's current attempt makes.

    ``exports/<date the job was created>/<scope>/<job>/<attempt>/<file name>``; each attempt has
    keys of its own, so that one that was taken for dead cannot overwrite the next one's file.

    Args:
        name: from ``file_name``.
        time_zone: the reporting time zone, in which the date is meant.

    Raises:
        ValueError: the job has no attempt yet, or its role makes no exports.
    """
    created = job.created_at.astimezone(ZoneInfo(time_zone)).date().isoformat()
    key = f"{PREFIX}{created}/{job.scope}/{job.job_id}/{job.attempt}/{name}"
    if parse_key(key) is None:
        raise ValueError(f"{key!r} is not a key of an export")
    return key


def manifest_key(key: str) -> str:
    """Key of the manifest of the file at a key."""
    return f"{key}{MANIFEST_SUFFIX}"


def parse_key(key: str) -> KeyParts | None:
    """What a key of a file or manifest says; None if it is not one of ours."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    return KeyParts(found["scope"], UUID(found["job"]), int(found["attempt"]), name=found["name"])


def file_name(request: ExportRequest, rows: ExportRows, extension: str) -> str:
    """What the file is saved as: ``attendees-event-12-2026-01-01-to-2026-01-31-as-of-….csv``.

    The same request and data version give the same name.

    Args:
        extension: without the dot.
    """
    parts = [request.dataset.name]
    if request.requester.organizer_id is not None:
        parts.append(f"organizer-{request.requester.organizer_id}")
    events = request.filters.events or ()
    if events:
        parts.append(f"event-{events[0]}" if len(events) == 1 else f"{len(events)}-events")
    parts += [_days(v) for _, v in request.filters if isinstance(v, Days)]
    as_of = rows.as_of.astimezone(rows.description.time_zone)
    parts.append(f"as-of-{as_of.date().isoformat()}")
    return f"{'-'.join(parts)}.{extension}"


def disposition(name: str) -> str:
    """Header by which browsers save a file under its name, as RFC 6266 has it."""
    return content_disposition(name)


def _days(days: Days) -> str:
    if days.first is None:
        return f"until-{days.last}"
    if days.last is None:
        return f"from-{days.first}"
    return str(days.first) if days.first == days.last else f"{days.first}-to-{days.last}"
