"""The rows that exports are measured with: the same in a table of Postgres and in the lake.

Belongs here: making them. Does not belong here: reading or writing them.
"""

from __future__ import annotations

import secrets
from datetime import date
from pathlib import Path

import psycopg

from metrics.calendar import DayRange
from resources.lake import SOURCE_TOTALS, Lake, replace_days
from resources.source_contract import FACTS

TIME_ZONE = "Africa/Nairobi"
DAYS = DayRange(TIME_ZONE, date(2026, 1, 1), date(2026, 6, 30))
"""Every row is of one of these days."""
COLUMNS = (
    "ticket_id",
    "order_id",
    "event_name",
    "ticket_type_name",
    "status",
    "attendee_name",
    "attendee_email",
    "attendee_phone",
    "charged",
    "currency",
    "issued_at",
    "checked_in_at",
)
"""What is exported, in this order."""
_SQL = Path(__file__).parent / "sql"
_DAILY = ("tickets", "attendees", "check_ins")
_CATALOGUE = ("ticket_types", "events", "organizers")


def make_rows(owner_url: str, sizes: list[int]) -> dict[int, int]:
    """Make the table ``bench.attendees``, anew.

    Args:
        owner_url: of the ticketing database, as its owner.
        sizes: how many rows each event has.

    Returns:
        size → event.
    """
    with psycopg.connect(owner_url) as connection:
        statements = psycopg.ClientCursor(connection)
        statements.execute((_SQL / "export_rows.sql").read_bytes(), {"rows": sizes})
    with psycopg.connect(owner_url, autocommit=True) as connection:
        # As autovacuum does on a live platform; else the first reader pays for hint bits.
        connection.execute("VACUUM ANALYZE bench.attendees")
    return {size: event for event, size in enumerate(sizes, 1)}


def fill_lake(lake: Lake, source_url: str) -> None:
    """Put the rows of ``bench.attendees`` into the lake, as an extraction of every day would."""
    statements = {
        name: (_SQL / f"export_{name}.sql").read_text(encoding="utf-8")
        for name in (*_DAILY, *_CATALOGUE, SOURCE_TOTALS)
    }
    with lake.session() as connection:
        quoted = source_url.replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS source (TYPE postgres, READ_ONLY)")
        # As for an extraction, rows of one file lie in the order in which they were read.
        token = secrets.token_hex(8)
        staged = {
            name: lake.stage(connection, FACTS[name].table, statements[name], token)
            for name in _DAILY
        }
        totals = lake.stage(connection, SOURCE_TOTALS, statements[SOURCE_TOTALS], token)
        with lake.commit(connection):
            for name in _DAILY:
                replace_days(connection, FACTS[name].table, DAYS, staged[name].path)
            replace_days(connection, SOURCE_TOTALS, DAYS, totals.path)
            for name in _CATALOGUE:
                table = f"lake.{FACTS[name].table}"
                connection.execute(f"DELETE FROM {table}")
                connection.execute(f"INSERT INTO {table} BY NAME {statements[name]}")


def event_query(event: int) -> str:
    """Statement that reads an event's rows from ``bench.attendees``, as the export orders them."""
    return (_SQL / "export_event.sql").read_text(encoding="utf-8").format(event_id=event)
