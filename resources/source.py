"""The ticketing platform as a source: its statements, and whether it keeps the contract.

Belongs here: reading ``resources/source_sql`` and comparing what it returns with the contract. Does
not belong here: what the columns mean (``resources.source_contract``) or where the rows go
(``resources.lake``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import psycopg
from psycopg import sql

from metrics.calendar import DayRange
from resources.source_contract import FACTS, Fact, SourceColumn

_OPEN = "SELECT * FROM (\n"
_CANONICAL = {"character varying": "text", "timestamp with time zone": "timestamptz"}
_TOKEN = re.compile(r"(?<!:):(range_start|range_end|first_day|last_day)\b")


@cache
def statement(fact: str) -> str:
    """The text of ``resources/source_sql/<fact>.sql``."""
    return (files("resources") / "source_sql" / f"{fact}.sql").read_text(encoding="utf-8")


def extraction_sql(fact: Fact, days: DayRange | None = None) -> str:
    """The fact's statement with its range filled in: instants in UTC, days as dates.

    Args:
        days: may be left out for a catalogue, which has no range.
    """
    text = statement(fact.name).strip()
    return text if days is None else fill_range(text, days)


def unbounded_sql(fact: Fact) -> str:
    """The fact's statement for all of time, to be narrowed by another condition around it."""
    return _fill(
        statement(fact.name).strip(),
        range_start="TIMESTAMPTZ '-infinity'",
        range_end="TIMESTAMPTZ 'infinity'",
        first_day="DATE '-infinity'",
        last_day="DATE 'infinity'",
    )


def fill_range(text: str, days: DayRange) -> str:
    """A statement with the words of its range filled in: instants in UTC, days as dates."""
    return _fill(
        text,
        range_start=f"TIMESTAMPTZ '{days.start.isoformat()}'",
        range_end=f"TIMESTAMPTZ '{days.end.isoformat()}'",
        first_day=f"DATE '{days.first}'",
        last_day=f"DATE '{days.last}'",
    )


def _fill(text: str, **values: str) -> str:
    return _TOKEN.sub(lambda match: values[match.group(1)], text)


@dataclass(frozen=True)
class Source:
    """The ticketing platform, as its read-only role.

    Attributes:
        url: ``postgresql://`` URL.
        buyer_key_secret: HMAC key that turns a buyer's identity into ``buyer_key``.
    """

    url: str = field(repr=False)
    buyer_key_secret: str = field(repr=False)


@dataclass(frozen=True)
class ContractProblem:
    """One way in which the source breaks the contract; ``message`` says what to do."""

    fact: str
    column: str | None
    message: str

    def __str__(self) -> str:
        """``fact.column: message``."""
        return f"{self.fact}{f'.{self.column}' if self.column else ''}: {self.message}"


def check_contract(source_url: str, days: DayRange) -> list[ContractProblem]:
    """Compare the columns and types of every statement with the contract, without reading rows.

    Args:
        source_url: ``postgresql://`` URL of the read-only role.
        days: any range; the statements are only described.
    """
    with psycopg.connect(source_url) as connection:
        return [p for fact in FACTS.values() for p in _check_fact(connection, fact, days)]


def compare(fact: Fact, returned: dict[str, str]) -> list[ContractProblem]:
    """Compare the columns a statement returns with the contract.

    Args:
        returned: Postgres type (as ``format_type`` writes it) by column name; an enum's begins
            with ``enum``.
    """
    problems = []
    unknown = [name for name in returned if name not in {c.name for c in fact.columns}]
    for column in fact.columns:
        if column.name not in returned:
            also = f" (it returns {', '.join(unknown)}, unknown to the contract)" if unknown else ""
            message = (
                f"is missing: {_file(fact)} does not return it{also};"
                f" select it AS {column.name}, of type {column.type}"
            )
        elif _CANONICAL.get(returned[column.name], returned[column.name]) != column.type:
            found = returned[column.name]
            message = f"is {found}, expected {column.type}; in {_file(fact)} {_cast(column, found)}"
        else:
            continue
        problems.append(ContractProblem(fact.name, column.name, message))
    return problems


def _check_fact(
    connection: psycopg.Connection, fact: Fact, days: DayRange
) -> list[ContractProblem]:
    text = extraction_sql(fact, days)
    try:
        with connection.transaction():
            cursor = connection.execute(sql.SQL(_OPEN + text + "\n) AS statement LIMIT 0"))
    except psycopg.Error as error:
        return [ContractProblem(fact.name, None, _failure(connection, fact, text, error))]
    described = cursor.description or []
    types: dict[int, str] = dict(
        connection.execute(
            "SELECT oid, CASE typtype WHEN 'e' THEN 'enum ' ELSE '' END || format_type(oid, NULL)"
            " FROM pg_type WHERE oid = ANY(%s)",
            [[column.type_code for column in described]],
        ).fetchall()
    )
    twice = {c.name for c in described if [d.name for d in described].count(c.name) > 1}
    return [
        ContractProblem(fact.name, name, f"is returned more than once by {_file(fact)}; keep one")
        for name in sorted(twice)
    ] + compare(fact, {column.name: types[column.type_code] for column in described})


def _failure(connection: psycopg.Connection, fact: Fact, text: str, error: psycopg.Error) -> str:
    """Why a statement fails, on which line of its file, and what to do."""
    diagnosis = error.diag
    reason = diagnosis.message_primary or str(error)
    where = _file(fact)
    if diagnosis.statement_position:
        before = text[: int(diagnosis.statement_position) - 1 - len(_OPEN)]
        raw = statement(fact.name)
        skipped = raw[: len(raw) - len(raw.lstrip())].count("\n")
        where += f" line {before.count(chr(10)) + skipped + 1}"
    advice = [diagnosis.message_hint.rstrip(".")] if diagnosis.message_hint else []
    match error:
        case psycopg.errors.InsufficientPrivilege():
            kind, name = reason.removeprefix("permission denied for ").split(" ", 1)
            right = "USAGE ON SCHEMA" if kind == "schema" else "SELECT ON"
            advice.append(f'run GRANT {right} {name} TO "{connection.info.user}" as its owner')
        case psycopg.errors.UndefinedTable():
            advice.append("select from a table that exists, with its schema")
        case psycopg.errors.UndefinedColumn():
            advice.append("select the column you have, AS its canonical name")
    return f"{where} fails: {'; '.join([reason, *advice])}"


def _cast(column: SourceColumn, found: str) -> str:
    """How to turn a found type into the one the contract wants."""
    name = column.name
    match column.type, found:
        case "bigint", "numeric" | "real" | "double precision" | "money" if column.money:
            return (
                f"cast it: {name}::bigint if it holds minor units; if it holds major units,"
                f" ({name} * 100)::bigint, with 10 to the power of the currency's decimals"
                " (1 for UGX, 100 for KES, 1000 for KWD)"
            )
        case "bigint", "uuid":
            return "select a bigint surrogate of it (docs/adopting.md, UUID keys)"
        case "bigint", "text" | "character varying":
            return f"cast it: {name}::bigint if it holds digits, else select a bigint surrogate"
        case "timestamptz", "timestamp without time zone":
            return (
                f"name the zone it is written in: {name} AT TIME ZONE 'UTC'"
                " (or the platform's zone, like 'Africa/Nairobi')"
            )
        case "timestamptz", "date":
            return "select the instant it happened; a date has no time of day"
        case "timestamptz", "bigint" | "integer" | "numeric" | "double precision":
            return f"convert it: to_timestamp({name}) from seconds since 1970, / 1000.0 from ms"
        case "boolean", "integer" | "smallint" | "bigint":
            return f"compare it: {name} <> 0"
        case "date", "timestamp with time zone":
            return f"take the reporting day: ({name} AT TIME ZONE 'Africa/Nairobi')::date"
        case "text", "character":
            return f"cast it without its padding: rtrim({name}::text)"
        case _:
            return f"cast it: {name}::{column.type}"


def _file(fact: Fact) -> str:
    return f"resources/source_sql/{fact.name}.sql"
