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
from resources.source_contract import FACTS, Fact

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
    if days is None:
        return statement(fact.name).strip()
    values = {
        "range_start": f"TIMESTAMPTZ '{days.start.isoformat()}'",
        "range_end": f"TIMESTAMPTZ '{days.end.isoformat()}'",
        "first_day": f"DATE '{days.first}'",
        "last_day": f"DATE '{days.last}'",
    }
    return _TOKEN.sub(lambda match: values[match.group(1)], statement(fact.name)).strip()


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


class ContractError(RuntimeError):
    """The source does not return the canonical columns; the message lists every problem."""

    def __init__(self, problems: list[ContractProblem]) -> None:
        """Keep the problems and join them into the message."""
        self.problems = problems
        super().__init__("the source breaks the contract:\n" + "\n".join(map(str, problems)))


def check_contract(source_url: str, days: DayRange) -> list[ContractProblem]:
    """Compare the columns and types of every statement with the contract, without reading rows.

    Args:
        source_url: ``postgresql://`` URL of the read-only role.
        days: any range; the statements are only described.
    """
    with psycopg.connect(source_url) as connection:
        return [p for fact in FACTS.values() for p in _check_fact(connection, fact, days)]


def _check_fact(
    connection: psycopg.Connection, fact: Fact, days: DayRange
) -> list[ContractProblem]:
    try:
        with connection.transaction():
            cursor = connection.execute(
                sql.SQL("SELECT * FROM (\n{}\n) AS statement LIMIT 0").format(
                    sql.SQL(extraction_sql(fact, days))
                )
            )
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error)
        return [
            ContractProblem(
                fact.name, None, f"resources/source_sql/{fact.name}.sql fails: {reason}"
            )
        ]
    returned = {
        column.name: connection.adapters.types[column.type_code].name
        if column.type_code in (t.oid for t in connection.adapters.types)
        else f"type {column.type_code}"
        for column in cursor.description or ()
    }
    problems = []
    for column in fact.columns:
        if column.name not in returned:
            problems.append(
                ContractProblem(fact.name, column.name, f"is missing; return it as {column.type}")
            )
        elif _TYPE_NAMES.get(returned[column.name], returned[column.name]) != column.type:
            problems.append(
                ContractProblem(
                    fact.name,
                    column.name,
                    f"is {returned[column.name]}, must be {column.type}; cast it in "
                    f"resources/source_sql/{fact.name}.sql",
                )
            )
    return problems


_TYPE_NAMES = {"int8": "bigint", "bool": "boolean", "varchar": "text"}
