"""Asking for an export: what an account asks for, checked whole before anything is queued.

Belongs here: the one form in which requests are stored, for the command line, the read API and
recurring exports alike. Does not belong here: what makes a request right (``exports.requests``,
``exports.options``), or queueing it (``warehouse.export_jobs.create_job``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from exports.catalogue import find_catalogue, warehouse_catalogue
from exports.filters import Problem, RequestError
from exports.masking import Requester, Role
from exports.options import parse_options
from exports.requests import named, validate
from warehouse import export_jobs

if TYPE_CHECKING:
    from resources.lake import Lake

ROLES = (Role.ADMIN, Role.SUPER_ADMIN, Role.ORGANIZER)
"""Who may export; a viewer looks at dashboards only."""


def checked(
    connection: psycopg.Connection[Any],
    account: str,
    requester: Requester,
    dataset: str,
    *,
    filters: object = None,
    columns: Sequence[str] | None = None,
    format_name: object = "csv",
    options: object = None,
    lake: Lake | None = None,
) -> export_jobs.ExportRequest:
    """A request in the one form it is stored in, known to be right at this moment.

    Args:
        account: who asks, as the platform knows them.
        filters: plain JSON data; None for all rows the requester may see.
        columns: names in the order they are to be written; None for the dataset's default.
        options: plain JSON data; None for the format's defaults.
        lake: asked for events and ticket types that are not published yet; None: they are refused.

    Raises:
        RequestError: with every problem that can be told.
    """
    problems: list[Problem] = []
    if requester.role not in ROLES:
        problems.append(Problem("role", f"a {requester.role} cannot export"))
    raw = {} if filters is None else filters
    canonical: dict[str, Any] = {}
    names: list[str] = []
    found = None
    try:
        catalogue = (
            warehouse_catalogue(connection, *named(raw))
            if lake is None
            else find_catalogue(connection, lake, *named(raw))
        )
        found = validate(dataset, raw, columns, requester, catalogue)
        canonical, names = found.filters.canonical(), [column.name for column in found.columns]
    except RequestError as error:
        problems += error.problems
    chosen: dict[str, Any] = {}
    try:
        given = {} if options is None else options
        chosen = parse_options(format_name, given, found.dataset if found else None).canonical()
    except RequestError as error:
        problems += error.problems
    if problems:
        raise RequestError(problems)
    return export_jobs.ExportRequest(
        requester=account,
        role=requester.role,
        organizer_id=requester.organizer_id,
        dataset=dataset,
        filters=canonical,
        columns=names,
        format=str(format_name),
        options=chosen,
        reason=requester.reason,
    )
