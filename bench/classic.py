"""The classic way: ``INSERT ... SELECT ... GROUP BY`` per day inside the source Postgres.

Belongs here: running the statement day by day, the plans of one day's extraction, and the figures
of a ``daily_metrics`` table wherever it is. Does not belong here: the statements (``bench/sql``).
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench.measure import server_cpu_seconds, wait_for_clients_to_leave
from metrics.calendar import DayRange, day_bounds
from metrics.datasets import DAILY_METRICS
from resources.source import extraction_sql
from resources.source_contract import DAILY_FACTS

_SQL = Path(__file__).parent / "sql"
_BIG_TABLE_ROWS = 100_000


@dataclass(frozen=True)
class Classic:
    """What the classic way took; CPU is the whole server's."""

    seconds: float
    cpu_seconds: float
    rows: int
    figures: str


def run_classic(owner_url: str, postgres_pid: int, days: DayRange) -> Classic:
    """Fill ``classic.daily_metrics`` in the source, one statement and transaction for each day."""
    statement = (_SQL / "classic_day.sql").read_bytes()
    rows = 0
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(_table_sql(connection))
    wait_for_clients_to_leave(postgres_pid)
    before, began = server_cpu_seconds(postgres_pid), time.time()
    with psycopg.connect(owner_url, autocommit=True) as connection:
        for day in days.days:
            start, end = day_bounds(days.time_zone, day)
            # Client-side parameters: the planner sees the bounds.
            cursor = psycopg.ClientCursor(connection)
            cursor.execute(statement, {"start": start, "end": end, "day": day})
            rows += cursor.rowcount
    seconds = time.time() - began
    wait_for_clients_to_leave(postgres_pid)
    cpu = server_cpu_seconds(postgres_pid) - before
    figures = figures_of(owner_url, "classic", days)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA classic CASCADE")
    return Classic(seconds, cpu, rows, figures)


def _table_sql(connection: psycopg.Connection[Any]) -> bytes:
    columns = [f"{column.name} {column.type} NOT NULL" for column in DAILY_METRICS.grain]
    columns += [f"{name} bigint NOT NULL" for name in DAILY_METRICS.metric_names]
    text = (_SQL / "classic_table.sql").read_text(encoding="utf-8")
    return text.format(columns=",\n    ".join(columns)).encode()


def figures_of(url: str, schema: str, days: DayRange) -> str:
    """Hash of every figure of ``daily_metrics`` in the days: equal exactly when all are."""
    columns = sql.SQL(", ").join(map(sql.Identifier, DAILY_METRICS.column_names))
    grain = sql.SQL(", ").join(sql.Identifier(column.name) for column in DAILY_METRICS.grain)
    digest = hashlib.sha256()
    with (
        psycopg.connect(url) as connection,
        connection.cursor() as cursor,
        cursor.copy(
            sql.SQL(
                "COPY (SELECT {} FROM {} WHERE business_date BETWEEN {} AND {} ORDER BY {})"
                " TO STDOUT (FORMAT csv)"
            ).format(
                columns,
                sql.Identifier(schema, DAILY_METRICS.name),
                sql.Literal(days.first),
                sql.Literal(days.last),
                grain,
            )
        ) as copy,
    ):
        for block in copy:
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Plan:
    """How the source reads one day of one fact.

    Attributes:
        scans: node type, relation and index of every table access.
        text: what EXPLAIN (ANALYZE, BUFFERS) prints.
    """

    fact: str
    scans: list[tuple[str, str, str]]
    rows: int
    buffers: int
    milliseconds: float
    text: str


def plans_of_a_day(reader_url: str, day: DayRange) -> list[Plan]:
    """Explain and run the extraction of each fact.

    Raises:
        AssertionError: a table of more than 100 thousand rows is scanned whole.
    """
    found = []
    with psycopg.connect(reader_url, autocommit=True) as connection:
        big = {
            name
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > %s",
                (_BIG_TABLE_ROWS,),
            ).fetchall()
        }
        for fact in DAILY_FACTS:
            statement = extraction_sql(fact, day)
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) {statement}"
            row = connection.execute(explain.encode()).fetchone()
            answer = row[0] if row else []
            top = (json.loads(answer) if isinstance(answer, str) else answer)[0]
            text = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS) {statement}".encode()).fetchall()
            plan = Plan(
                fact.name,
                _scans(top["Plan"]),
                int(top["Plan"]["Actual Rows"]),
                top["Plan"]["Shared Hit Blocks"] + top["Plan"]["Shared Read Blocks"],
                top["Execution Time"],
                "\n".join(line for (line,) in text),
            )
            whole = [name for node, name, _ in plan.scans if "Seq Scan" in node and name in big]
            if whole:
                raise AssertionError(
                    f"one day of {fact.name} scans all of {', '.join(whole)}:\n{plan.text}"
                )
            found.append(plan)
    return found


def _scans(node: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    if "Scan" in node["Node Type"]:
        relation = node.get("Relation Name", "")
        found.append((node["Node Type"], relation, node.get("Index Name", "")))
    for child in node.get("Plans", []):
        found += _scans(child)
    return found
