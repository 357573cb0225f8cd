"""Staging: the statement that dates and keys a fact's rows on their way into the lake.

Belongs here: turning what a statement of ``resources/source_sql`` returns into the lake's columns.
Does not belong here: reading and committing (``resources.extraction``).
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime

from metrics.calendar import DayRange
from resources.duckdb_postgres import quote
from resources.lake import BUSINESS_DATE, flag, sale_date_source, table_columns
from resources.quarantine import FOUND, RULE, ruled_select
from resources.source import extraction_sql
from resources.source_contract import BUYER_IDENTITY, BUYER_KEY, Fact

_EARLIEST_SALE = date(2000, 1, 1)
_HMAC_BLOCK = 64


def staging_select(
    fact: Fact, days: DayRange, reader: str, snapshot_at: datetime, numeric: frozenset[str]
) -> str:
    """Statement that returns the fact's lake columns, a row for each of its days in the range.

    Beside them it returns which rule of the quarantine a row breaks, and what it holds.

    Args:
        snapshot_at: the source's clock.
        numeric: money columns that are ``numeric`` at the source.
    """
    contract = {column.name: column.type for column in fact.columns}
    dated = {
        day: day
        if contract[day] == "date"
        else f"CASE WHEN {day} >= TIMESTAMPTZ '{days.start.isoformat()}'"
        f" AND {day} < TIMESTAMPTZ '{days.end.isoformat()}'"
        f" THEN {days.business_date_sql(day)} END"
        for day in fact.days
    }
    inner = f"SELECT *, {', '.join(f'{sql} AS {_dated(day)}' for day, sql in dated.items())}"
    rows = source_rows(exact_sql(fact, extraction_sql(fact, days), numeric), reader)
    inner += f" FROM ({ruled_select(fact, rows, snapshot_at, numeric)})"
    if len(dated) == 1:
        date_sql = _dated(fact.days[0])
        outer = inner
    else:
        first, *others = map(_dated, fact.days)
        # Nearly all rows have a single day: telling them apart first halves the time.
        alone = " AND ".join(f"coalesce({other} = {first}, {other} IS NULL)" for other in others)
        dates = (
            f"CASE WHEN {first} IS NOT NULL AND {alone} THEN [{first}]"
            f" ELSE list_distinct([{', '.join([first, *others])}]) END"
        )
        outer = f"SELECT *, unnest({dates}) AS {BUSINESS_DATE} FROM ({inner})"
        date_sql = BUSINESS_DATE
    expressions = {BUSINESS_DATE: date_sql, "sale_date": _sale_date(fact, days)}
    expressions |= {
        flag(day): f"coalesce({_dated(day)} = {BUSINESS_DATE}, false)" for day in fact.days
    }
    if BUYER_IDENTITY in contract:
        expressions[BUYER_KEY] = f"buyer_key(event_organizer_id, {BUYER_IDENTITY})"
    columns = ", ".join(
        f"{expressions[name]} AS {name}" if name in expressions else name
        for name in table_columns(fact)
    )
    return f"SELECT {columns}, {RULE}, {FOUND} FROM ({outer})"


def exact_sql(fact: Fact, statement: str, numeric: frozenset[str]) -> str:
    """The source's statement with its numeric columns as text, which a double would round."""
    if not numeric:
        return statement
    columns = ", ".join(
        f"{c.name}::text AS {c.name}" if c.name in numeric else c.name for c in fact.columns
    )
    return f"SELECT {columns} FROM ({statement}\n) AS statement"


def source_rows(statement: str, reader: str) -> str:
    """What a statement returns, read through an attached source."""
    return f"postgres_query('{reader}', {quote(statement)})"


def _dated(day_column: str) -> str:
    return f"{day_column}_date"


def _sale_date(fact: Fact, days: DayRange) -> str:
    source = sale_date_source(fact)
    if source is None:
        return "NULL"
    history = DayRange(days.time_zone, _EARLIEST_SALE, days.last)
    return f"CASE WHEN {source} IS NOT NULL THEN {history.business_date_sql(source)} END"


def buyer_key_macro(secret: str) -> str:
    """HMAC-SHA256 (RFC 2104) in SQL, cut to 128 bits; keyed per organizer by the message."""
    key = secret.encode()
    if len(key) > _HMAC_BLOCK:
        key = hashlib.sha256(key).digest()
    key = key.ljust(_HMAC_BLOCK, b"\0")
    inner, outer = ("".join(f"\\x{byte ^ pad:02X}" for byte in key) for pad in (0x36, 0x5C))
    return (
        "CREATE TEMP MACRO buyer_key(organizer_id, identity) AS CASE WHEN identity IS NOT NULL THEN"
        f" CAST(left(sha256('{outer}'::BLOB || unhex(sha256('{inner}'::BLOB ||"
        " encode(organizer_id || ':' || identity)))), 32) AS UUID) END"
    )
