"""Who is given clear personal data of a file that was made: its entry of the access log.

Belongs here: the entry for a link to a file, or a download of it. Does not belong here: the entry
for making the file (``exports.attempt``), or what is clear to whom (``exports.masking``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from exports.masking import Requester, Role, disclosed
from warehouse.access_log import Access


def file_access(
    job: Mapping[str, Any], actor: str, action: Literal["link", "download"]
) -> Access | None:
    """The entry, to be written before a link or the bytes leave; None if nothing is clear.

    Args:
        job: columns of ``ops.export_jobs``.
        actor: the account that is given the link or the file.
    """
    role = Role(job["role"])
    requester = Requester(role=role, organizer_id=job["organizer_id"], reason=job["reason"])
    columns = disclosed(job["dataset"], job["columns"], requester)
    if not columns:
        return None
    return Access(
        actor=actor,
        role=role,
        organizer_id=job["organizer_id"],
        action=action,
        job_id=job["job_id"],
        dataset=job["dataset"],
        filters=job["filters"],
        clear_columns=columns,
        reason=job["reason"],
        row_count=job["rows_written"],
    )
