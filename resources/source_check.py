"""What is unwise about a source that keeps the contract: rights to write, and slow statements.

Belongs here: warnings about the role and about the plans of the daily statements. Does not belong
here: what must hold (``resources.source.check_contract``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql

from metrics.calendar import DayRange
from resources.source import extraction_sql, reconciliation_sql
from resources.source_contract import DAILY_FACTS, Fact

LARGE_TABLE_ROWS = 100_000

# A column compared with a constant, as EXPLAIN writes it: (placed_at >= '2024-...'::timestamptz).
_COMPARED = re.compile(r"\((?:\w+\.)?(\w+|\"[^\"]+\") (?:>=|<=|<|>|=) '")
_JOINED = re.compile(r"(?:\w+\.)?(\w+) = (?:\w+\.)?(\w+)")


@dataclass(frozen=True)
class SourceWarning:
    """Something that works but should be changed; ``fact`` is None when it is about the role."""

    fact: str | None
    message: str


def _sql(name: str) -> bytes:
    return (files("resources") / "sql" / f"{name}.sql").read_bytes()


def check_role(connection: psycopg.Connection[Any]) -> list[SourceWarning]:
    """Warn when the role could change the platform's data; the pipeline only ever reads."""
    user = connection.info.user
    is_superuser = connection.execute(
        "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    ).fetchall()[0][0]
    if is_superuser:
        return [SourceWarning(None, f'role "{user}" is a superuser; use one that may only SELECT')]
    tables = [name for (name,) in connection.execute(_sql("writable_tables"))]
    if not tables:
        return []
    return [
        SourceWarning(
            None,
            f'role "{user}" can write {", ".join(tables)}; REVOKE INSERT, UPDATE, DELETE, TRUNCATE,'
            " or use a role that does not own them",
        )
    ]


def check_plans(connection: psycopg.Connection[Any], day: DayRange) -> list[SourceWarning]:
    """Warn of daily statements that read a large table from end to end for a single day.

    Statements that fail are left to ``check_contract``. Nothing is executed, only planned.

    Args:
        day: a range of one day.
    """
    return [
        warning
        for fact in DAILY_FACTS
        for folder, text in (
            ("source_sql", extraction_sql(fact, day)),
            ("reconciliation_sql", reconciliation_sql(fact, day)),
        )
        for warning in _check_plan(connection, fact, folder, text)
    ]


def _check_plan(
    connection: psycopg.Connection[Any], fact: Fact, folder: str, text: str
) -> Iterator[SourceWarning]:
    explain = sql.SQL("EXPLAIN (FORMAT JSON, VERBOSE) " + text)
    try:
        with connection.transaction():
            plan = connection.execute(explain).fetchall()[0][0][0]["Plan"]
    except psycopg.errors.DatabaseError:
        return
    for node, condition in _scans(plan, ""):
        table = f"{node['Schema']}.{node['Relation Name']}"
        found = connection.execute(
            _sql("table_statistics"), [f'"{node["Schema"]}"."{node["Relation Name"]}"']
        ).fetchall()
        rows, indexed, columns = found[0]
        if rows <= LARGE_TABLE_ROWS:
            continue
        used = set(_COMPARED.findall(node.get("Filter", "")))
        if not used:
            used = {name for pair in _JOINED.findall(condition) for name in pair}
        missing = sorted((used & set(columns)) - set(indexed))
        if missing:
            advice = "; ".join(f"CREATE INDEX ON {table} ({column})" for column in missing)
        else:
            advice = (
                f"its indexes on {', '.join(indexed) or 'nothing'} do not serve it: run ANALYZE,"
                " and compare columns, not expressions, with the range"
            )
        yield SourceWarning(
            fact.name,
            f"one day of resources/{folder}/{fact.name}.sql reads all of {table}"
            f" (about {rows:,} rows); {advice}",
        )


def _scans(node: dict[str, Any], condition: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Sequential scans of a plan, each with the join condition above it."""
    condition = (
        node.get("Hash Cond") or node.get("Merge Cond") or node.get("Join Filter") or condition
    )
    if node["Node Type"] == "Seq Scan":
        yield node, condition
    for child in node.get("Plans", []):
        yield from _scans(child, condition)
