"""The ticketing platform as a source: its statements, and whether it keeps the contract.

Belongs here: reading ``resources/source_sql`` and ``resources/reconciliation_sql``, and comparing
what they return with the contract. Does
not belong here: what the columns mean (``resources.source_contract``) or where the rows go
(``resources.lake``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import psycopg
from psycopg import sql

from metrics.calendar import DayRange, day_bounds
from resources.source_contract import FACTS, Fact, SourceColumn

_OPEN = "SELECT * FROM (\n"
_CANONICAL = {"character varying": "text", "timestamp with time zone": "timestamptz"}
_TOTALS = {
    "business_date": "date",
    "organizer_id": "bigint",
    "currency": "text",
    "measure": "text",
    "value": "bigint",
}
_TOTALS_TOKEN = re.compile(r"(?<!:):(days|quarantined)\b")
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
    return fill_tokens(
        statement(fact.name).strip(),
        range_start="TIMESTAMPTZ '-infinity'",
        range_end="TIMESTAMPTZ 'infinity'",
        first_day="DATE '-infinity'",
        last_day="DATE 'infinity'",
    )


def fill_range(text: str, days: DayRange) -> str:
    """A statement with the words of its range filled in: instants in UTC, days as dates."""
    return fill_tokens(
        text,
        range_start=f"TIMESTAMPTZ '{days.start.isoformat()}'",
        range_end=f"TIMESTAMPTZ '{days.end.isoformat()}'",
        first_day=f"DATE '{days.first}'",
        last_day=f"DATE '{days.last}'",
    )


def fill_tokens(text: str, **values: str) -> str:
    """A statement with each word of its range replaced by the SQL given for it."""
    return _TOKEN.sub(lambda match: values[match.group(1)], text)


@dataclass(frozen=True)
class Source:
    """The ticketing platform, as its read-only role.

    Attributes:
        url: ``postgresql://`` URL.
        buyer_key_secret: HMAC key that turns a buyer's identity into ``buyer_key``.
        quarantine_tolerance: unusable rows of a fact that never stop an extraction.
        quarantine_max_share: share of a fact's rows above which unusable ones stop it.
    """

    url: str = field(repr=False)
    buyer_key_secret: str = field(repr=False)
    quarantine_tolerance: int = 10
    quarantine_max_share: float = 0.01


@dataclass(frozen=True)
class ContractProblem:
    """One way in which the source breaks the contract; ``message`` says what to do."""

    fact: str
    column: str | None
    message: str

    def __str__(self) -> str:
        """``fact.column: message``."""
        return f"{self.fact}{f'.{self.column}' if self.column else ''}: {self.message}"


@dataclass(frozen=True)
class Contract:
    """What the source's statements return, compared with the contract.

    Attributes:
        problems: empty where the contract is kept.
        numeric: by fact, the money columns that are ``numeric`` at the source.
    """

    problems: tuple[ContractProblem, ...]
    numeric: dict[str, frozenset[str]]


class ContractError(RuntimeError):
    """The source does not keep the contract; ``problems`` holds all that is wrong."""

    def __init__(self, problems: Sequence[ContractProblem]) -> None:
        """Name every problem."""
        self.problems = tuple(problems)
        super().__init__(
            "the source does not keep the contract, so nothing was read: "
            + "; ".join(map(str, problems))
        )


def read_contract(source_url: str, days: DayRange | None, facts: Iterable[Fact]) -> Contract:
    """Compare the columns and types of every statement with the contract, without reading rows.

    Args:
        source_url: ``postgresql://`` URL of the read-only role.
        days: any range, as the statements are only described; may be left out for the catalogue.
    """
    first = DayRange(days.time_zone, days.first, days.first) if days else None
    problems: list[ContractProblem] = []
    numeric: dict[str, frozenset[str]] = {}
    with psycopg.connect(source_url) as connection:
        connection.read_only = True
        for fact in facts:
            found = _describe(connection, _file(fact), extraction_sql(fact, first), fact)
            if isinstance(found, dict):
                problems += compare(fact, found)
                numeric[fact.name] = frozenset(
                    column.name
                    for column in fact.columns
                    if column.money and _is_whole_numeric(found.get(column.name, ""))
                )
            else:
                problems += found
            if first is not None and not fact.is_catalogue:
                problems += _check_totals(connection, fact, first)
    return Contract(tuple(problems), numeric)


def check_contract(source_url: str, days: DayRange) -> list[ContractProblem]:
    """What ``read_contract`` finds wrong with any fact."""
    return list(read_contract(source_url, days, FACTS.values()).problems)


@cache
def reconciliation_statement(fact: str) -> str:
    """The text of ``resources/reconciliation_sql/<fact>.sql``."""
    folder = files("resources") / "reconciliation_sql"
    return (folder / f"{fact}.sql").read_text(encoding="utf-8")


def reconciliation_sql(fact: Fact, days: DayRange, quarantined: Sequence[str] = ()) -> str:
    """The fact's statement of totals, with its days and the keys to leave out filled in."""
    bounds = ", ".join(
        f"(DATE '{day}', TIMESTAMPTZ '{start.isoformat()}', TIMESTAMPTZ '{end.isoformat()}')"
        for day in days.days
        for start, end in (day_bounds(days.time_zone, day),)
    )
    keys = ", ".join("'" + key.replace("'", "''") + "'" for key in quarantined)
    values = {"days": f"VALUES {bounds}", "quarantined": f"ARRAY[{keys}]::text[]"}
    text = reconciliation_statement(fact.name).strip()
    return fill_range(_TOTALS_TOKEN.sub(lambda match: values[match.group(1)], text), days)


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
        elif column.money and _is_whole_numeric(returned[column.name]):
            continue  # read exactly, as text
        elif _CANONICAL.get(returned[column.name], returned[column.name]) != column.type:
            found = returned[column.name]
            message = f"is {found}, expected {column.type}; in {_file(fact)} {_cast(column, found)}"
        else:
            continue
        problems.append(ContractProblem(fact.name, column.name, message))
    return problems


def _check_totals(
    connection: psycopg.Connection, fact: Fact, days: DayRange
) -> list[ContractProblem]:
    """Compare the columns of a statement of totals with what every one of them returns."""
    file = f"resources/reconciliation_sql/{fact.name}.sql"
    found = _describe(connection, file, reconciliation_sql(fact, days), fact)
    if not isinstance(found, dict):
        return found
    return [
        ContractProblem(
            fact.name, None, f"{file} returns {name} {found.get(name, 'not at all')}, not as {kind}"
        )
        for name, kind in _TOTALS.items()
        if found.get(name) != kind
    ]


def _describe(
    connection: psycopg.Connection, file: str, text: str, fact: Fact
) -> dict[str, str] | list[ContractProblem]:
    """Postgres type of each column a statement returns, or what is wrong with it."""
    try:
        with connection.transaction():
            cursor = connection.execute(sql.SQL(_OPEN + text + "\n) AS statement LIMIT 0"))
    except psycopg.Error as error:
        return [ContractProblem(fact.name, None, _failure(connection, file, text, error))]
    described = cursor.description or []
    types: dict[int, str] = dict(
        connection.execute(
            "SELECT oid, CASE typtype WHEN 'e' THEN 'enum ' ELSE '' END || format_type(oid, NULL)"
            " FROM pg_type WHERE oid = ANY(%s)",
            [[column.type_code for column in described]],
        ).fetchall()
    )
    twice = {c.name for c in described if [d.name for d in described].count(c.name) > 1}
    if twice:
        return [
            ContractProblem(fact.name, name, f"is returned more than once by {file}; keep one")
            for name in sorted(twice)
        ]
    return {
        column.name: types[column.type_code]
        + (f"({column.precision},{column.scale})" if column.scale is not None else "")
        for column in described
    }


def _failure(connection: psycopg.Connection, file: str, text: str, error: psycopg.Error) -> str:
    """Why a statement fails, on which line of its file, and what to do."""
    diagnosis = error.diag
    reason = diagnosis.message_primary or str(error)
    where = file
    if diagnosis.statement_position:
        before = text[: int(diagnosis.statement_position) - 1 - len(_OPEN)]
        raw = (files("resources") / file.removeprefix("resources/")).read_text(encoding="utf-8")
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
    match column.type, found.split("(")[0]:
        case "bigint", "numeric" | "real" | "double precision" | "money" if column.money:
            exact = name if found.startswith("numeric") else f"{name}::numeric"
            return (
                f"return whole minor units: {name}::numeric(20, 0) if it holds them; if it holds"
                f" major units, {exact} * 100, with 10 to the power of the currency's decimals"
                " (1 for UGX, 100 for KES, 1000 for KWD); a cast to bigint would round what is"
                " finer, unseen"
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


def _is_whole_numeric(found: str) -> bool:
    """A numeric whose declared decimals do not say that it holds major units."""
    return found == "numeric" or re.fullmatch(r"numeric\([0-9]+,0\)", found) is not None


def _file(fact: Fact) -> str:
    return f"resources/source_sql/{fact.name}.sql"
