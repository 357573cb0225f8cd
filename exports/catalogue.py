"""Looking up the events and ticket types that a request names: whether they exist, and whose.

Belongs here: asking the warehouse, and the lake for what is not published. Does not belong here:
what is done with the answer (``exports.requests``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from exports.requests import Catalogue
from exports.statements import run, text

if TYPE_CHECKING:
    import duckdb

    from resources.lake import Lake


def warehouse_catalogue(
    connection: psycopg.Connection[Any], events: Sequence[int], ticket_types: Sequence[int]
) -> Catalogue:
    """Which of the named events and ticket types are published; see ``requests.named``.

    Args:
        connection: as a role that may read ``reporting``, with ``row_factory=dict_row``.
    """
    values = {"events": list(events), "ticket_types": list(ticket_types)}
    rows = connection.execute(text("warehouse_catalogue.sql").encode(), values).fetchall()
    return _catalogue((row["what"], row["key"], row["owner"]) for row in rows)


def lake_catalogue(lake: Lake, events: Sequence[int], ticket_types: Sequence[int]) -> Catalogue:
    """Which of the named events and ticket types exist, published and sold or not."""
    with lake.session() as connection:
        return session_catalogue(connection, events, ticket_types)


def find_catalogue(
    connection: psycopg.Connection[Any],
    lake: Lake,
    events: Sequence[int],
    ticket_types: Sequence[int],
) -> Catalogue:
    """The same, asking the lake, which takes half a second, only for what is not published.

    A new event is published with the next run, a ticket type with its first sale.

    Args:
        connection: see ``warehouse_catalogue``.
    """
    found = warehouse_catalogue(connection, events, ticket_types)
    if set(events) <= set(found.events) and set(ticket_types) <= set(found.ticket_types):
        return found
    return lake_catalogue(lake, events, ticket_types)


def session_catalogue(
    connection: duckdb.DuckDBPyConnection, events: Sequence[int], ticket_types: Sequence[int]
) -> Catalogue:
    """The same, in a session of the lake that is open."""
    values = {"events": list(events), "ticket_types": list(ticket_types)}
    found = run(connection, text("lake_catalogue.sql"), values).fetchall()
    return _catalogue((row[0], row[1], row[2]) for row in found)


def _catalogue(rows: Iterator[tuple[str, int, int]]) -> Catalogue:
    owners: dict[str, dict[int, int]] = {"event": {}, "ticket_type": {}}
    for what, key, owner in rows:
        owners[what][key] = owner
    return Catalogue(events=owners["event"], ticket_types=owners["ticket_type"])
