"""Publication: how rows become visible to readers.

Belongs here: the one transaction that replaces a partition of a finished table, its version, its
fence, and what readers may know about it. Does not belong here: how the rows are computed
(``assets``), why a closed period changed (``warehouse.restatements``) or the tables
(``warehouse.tables``).

Dagster runs a step at least once, and a killed worker's step can live on. So the truth about what
is published lives here: a publication of an older input, or by an older attempt, changes nothing.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

import polars as pl
import psycopg
from psycopg import sql
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import Jsonb

from metrics.datasets import Dataset
from warehouse.faults import FaultPoint, reached
from warehouse.restatements import LedgerHistory, Restatement, Version, restate, row_schema

_NULL = r"\N"


class Outcome(StrEnum):
    """What a publication did."""

    PUBLISHED = "published"
    """The rows are new to readers."""
    UNCHANGED = "unchanged"
    """The content is what readers already see; only the watermark moved."""
    RESTORED = "restored"
    """The version is what readers were given, but somebody had edited its rows: they are back."""
    SUPERSEDED = "superseded"
    """A newer input, or a newer attempt, was already published; nothing was changed."""


@dataclass(frozen=True)
class Provenance:
    """Where the rows of a partition come from.

    Attributes:
        run_id: Dagster run.
        attempt: from ``next_attempt``, drawn before the input is read.
        input_version: order of the input; a lower one never replaces a higher one.
        lake_snapshot: DuckLake snapshot that was read.
        code_version: hash of the statements.
        source_watermark: every source commit before it is included; None where it is unknown.
        is_complete: whether the watermark has passed the end of the partition.
    """

    run_id: str
    attempt: int
    input_version: int
    lake_snapshot: int
    code_version: str
    source_watermark: datetime | None
    is_complete: bool


@dataclass(frozen=True)
class Publication:
    """The version of a partition that readers see after ``publish``.

    Attributes:
        control_sums: per currency, the sum of every metric; money in minor units.
        restatements: values of a closed period that this publication changed.
        was_final: whether the period had been declared final.
    """

    outcome: Outcome
    publication_id: int
    data_version: str
    row_count: int
    control_sums: dict[str, dict[str, int]]
    restatements: tuple[Restatement, ...] = ()
    was_final: bool = False


class ControlSumError(RuntimeError):
    """What Postgres holds after the copy does not add up to what was handed over.

    Attributes:
        partition_key: the partition that was not published.
        differences: currency, metric, sum handed over and sum found; money in minor units.
    """

    def __init__(
        self, dataset: str, partition_key: str, differences: list[tuple[str, str, int, int]]
    ) -> None:
        """Say where."""
        self.partition_key = partition_key
        self.differences = differences
        listed = "; ".join(
            f"{currency} {metric} is {found}, should be {expected}"
            for currency, metric, expected, found in differences[:10]
        )
        super().__init__(f"{dataset} {partition_key}: sums in Postgres differ: {listed}")


def next_attempt(connection: psycopg.Connection[Any]) -> int:
    """Draw the number that orders this attempt among all others."""
    return int(_one(connection.execute("SELECT nextval('ops.attempts') AS attempt"))["attempt"])


def data_version(dataset: Dataset, rows: pl.DataFrame) -> str:
    """The version ``publish`` gives to the rows of a partition: a hash of their content."""
    return _version(dataset, _content(dataset, rows))


def _content(dataset: Dataset, rows: pl.DataFrame) -> str:
    return rows.select(dataset.column_names).write_csv(
        include_header=False, null_value=_NULL, quote_style="non_numeric"
    )


def _version(dataset: Dataset, content: str) -> str:
    header = ",".join(dataset.column_names)
    return hashlib.sha256(f"{header}\n{content}".encode()).hexdigest()[:16]


def publish(
    connection: psycopg.Connection[Any],
    dataset: Dataset,
    partition_key: str,
    rows: pl.DataFrame,
    provenance: Provenance,
    history: LedgerHistory | None = None,
) -> Publication:
    """Replace one partition of a finished table, in one transaction.

    Args:
        connection: as the publisher role, with ``row_factory=dict_row``.
        partition_key: first day of the partition, or ``all``.
        rows: every row of the partition, with the dataset's columns, sorted by its grain.
        history: asked for the movements that differ, where a closed day changes.

    Raises:
        ControlSumError: Postgres holds something else than the rows; nothing was published.
    """
    content = _content(dataset, rows)
    version = _version(dataset, content)
    with connection.transaction():
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            (f"publish {dataset.name} {partition_key}",),
        )
        current = _current(connection, dataset.name, partition_key)
        if current is not None:
            newest = (current["input_version"], current["attempt"])
            if newest > (provenance.input_version, provenance.attempt):
                return _publication(Outcome.SUPERSEDED, current)
            if (current["data_version"], current["is_complete"]) == (
                version,
                provenance.is_complete,
            ):
                _point_to(connection, dataset, partition_key, current, provenance)
                if _content(dataset, _read_rows(connection, dataset, partition_key)) == content:
                    return _publication(Outcome.UNCHANGED, current)
                _replace_rows(connection, dataset, partition_key, content)
                return _publication(Outcome.RESTORED, current)
        replaced = current is None or current["data_version"] != version
        closed = replaced and current is not None and current["is_complete"]
        before = _read_rows(connection, dataset, partition_key) if closed else None
        if replaced:
            _replace_rows(connection, dataset, partition_key, content)
        reached(FaultPoint.PUBLISHING)
        control_sums = _control_sums(connection, dataset, partition_key)
        if differences := _differences(_frame_sums(dataset, rows), control_sums):
            raise ControlSumError(dataset.name, partition_key, differences)
        new = _one(
            connection.execute(
                """INSERT INTO ops.publications (
                    dataset, partition_key, data_version, input_version, attempt, lake_snapshot,
                    source_watermark, is_complete, run_id, code_version, row_count, control_sums)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                RETURNING publication_id, data_version, row_count, control_sums""",
                (
                    dataset.name,
                    partition_key,
                    version,
                    provenance.input_version,
                    provenance.attempt,
                    provenance.lake_snapshot,
                    provenance.source_watermark,
                    provenance.is_complete,
                    provenance.run_id,
                    provenance.code_version,
                    rows.height,
                    Jsonb(control_sums),
                ),
            )
        )
        _point_to(connection, dataset, partition_key, new, provenance)
        if current is None or before is None:
            return _publication(Outcome.PUBLISHED, new)
        was_final = current["final_at"] is not None
        restatements = restate(
            connection,
            dataset,
            partition_key,
            (before, rows),
            (
                Version(
                    current["publication_id"],
                    current["input_version"],
                    current["lake_snapshot"],
                    current["source_watermark"],
                    current["code_version"],
                ),
                Version(
                    new["publication_id"],
                    provenance.input_version,
                    provenance.lake_snapshot,
                    provenance.source_watermark,
                    provenance.code_version,
                ),
            ),
            history,
            was_final=was_final,
            run_id=provenance.run_id,
        )
        return _publication(Outcome.PUBLISHED, new, restatements, was_final=was_final)


def _current(
    connection: psycopg.Connection[Any], dataset: str, partition_key: str
) -> dict[str, Any] | None:
    row: dict[str, Any] | None = connection.execute(
        """SELECT n.publication_id, n.data_version, n.input_version, n.attempt, n.is_complete,
                  n.lake_snapshot, n.source_watermark, n.code_version, n.final_at,
                  p.row_count, p.control_sums
        FROM ops.partitions AS n JOIN ops.publications AS p USING (publication_id)
        WHERE n.dataset = %s AND n.partition_key = %s""",
        (dataset, partition_key),
    ).fetchone()
    return row


def _point_to(
    connection: psycopg.Connection[Any],
    dataset: Dataset,
    partition_key: str,
    publication: Mapping[str, Any],
    provenance: Provenance,
) -> None:
    connection.execute(
        """INSERT INTO ops.partitions (
            dataset, partition_key, publication_id, data_version, input_version, attempt,
            lake_snapshot, source_watermark, is_complete, run_id, code_version)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (dataset, partition_key) DO UPDATE SET
            publication_id = excluded.publication_id, data_version = excluded.data_version,
            input_version = excluded.input_version, attempt = excluded.attempt,
            lake_snapshot = excluded.lake_snapshot, source_watermark = excluded.source_watermark,
            is_complete = excluded.is_complete, run_id = excluded.run_id,
            code_version = excluded.code_version, checked_at = clock_timestamp()""",
        (
            dataset.name,
            partition_key,
            publication["publication_id"],
            publication["data_version"],
            provenance.input_version,
            provenance.attempt,
            provenance.lake_snapshot,
            provenance.source_watermark,
            provenance.is_complete,
            provenance.run_id,
            provenance.code_version,
        ),
    )


@dataclass(frozen=True)
class _Statements:
    """The statements that read, replace and sum one partition of a dataset, composed once."""

    select: bytes
    delete: bytes
    copy: bytes
    sums: bytes
    parameters: int


@cache
def _statements(dataset: Dataset) -> _Statements:
    table = sql.Identifier("reporting", dataset.name)
    where = (
        sql.SQL("true")
        if dataset.period == "all"
        else sql.SQL("{} = %s").format(sql.Identifier(dataset.grain[0].name))
    )
    columns = sql.SQL(", ").join(map(sql.Identifier, dataset.column_names))
    sums = sql.SQL(", ").join(
        sql.SQL("sum({0})::bigint AS {0}").format(sql.Identifier(name))
        for name in dataset.metric_names
    )
    return _Statements(
        select=sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, table, where).as_bytes(),
        delete=sql.SQL("DELETE FROM {} WHERE {}").format(table, where).as_bytes(),
        copy=sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL {})")
        .format(table, columns, sql.Literal(_NULL))
        .as_bytes(),
        sums=sql.SQL("SELECT currency, {} FROM {} WHERE {} GROUP BY currency ORDER BY currency")
        .format(sums, table, where)
        .as_bytes(),
        parameters=0 if dataset.period == "all" else 1,
    )


def _replace_rows(
    connection: psycopg.Connection[Any], dataset: Dataset, partition_key: str, content: str
) -> None:
    statements = _statements(dataset)
    connection.execute(statements.delete, [partition_key][: statements.parameters])
    with connection.cursor() as cursor, cursor.copy(statements.copy) as writer:
        stream = io.StringIO(content)
        while chunk := stream.read(1 << 20):
            writer.write(chunk)


def _control_sums(
    connection: psycopg.Connection[Any], dataset: Dataset, partition_key: str
) -> dict[str, dict[str, int]]:
    statements = _statements(dataset)
    rows = connection.execute(statements.sums, [partition_key][: statements.parameters])
    return {row.pop("currency"): row for row in rows.fetchall()}


def _read_rows(
    connection: psycopg.Connection[Any], dataset: Dataset, partition_key: str
) -> pl.DataFrame:
    """The rows of a partition as readers see them, sorted by the dataset's grain."""
    statements = _statements(dataset)
    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(statements.select, [partition_key][: statements.parameters])
        rows = pl.DataFrame(cursor.fetchall(), schema=row_schema(dataset), orient="row")
        return rows.sort([column.name for column in dataset.grain])


def _frame_sums(dataset: Dataset, rows: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Sum of every metric by currency; in 128 bits, because Polars wraps silently in 64."""
    sums = rows.group_by("currency").agg(
        pl.col(name).cast(pl.Int128).sum() for name in dataset.metric_names
    )
    return {row.pop("currency"): row for row in sums.iter_rows(named=True)}


def _differences(
    expected: Mapping[str, Mapping[str, int]], found: Mapping[str, Mapping[str, int]]
) -> list[tuple[str, str, int, int]]:
    """Currency, metric and both sums wherever they differ; what is missing counts as 0."""
    differing = []
    for currency in sorted(expected.keys() | found.keys()):
        handed, stored = expected.get(currency, {}), found.get(currency, {})
        differing += [
            (currency, name, handed.get(name) or 0, stored.get(name) or 0)
            for name in handed.keys() | stored.keys()
            if (handed.get(name) or 0) != (stored.get(name) or 0)
        ]
    return differing


def _publication(
    outcome: Outcome,
    row: Mapping[str, Any],
    restatements: tuple[Restatement, ...] = (),
    *,
    was_final: bool = False,
) -> Publication:
    return Publication(
        outcome,
        row["publication_id"],
        row["data_version"],
        row["row_count"],
        row["control_sums"],
        restatements,
        was_final,
    )


def _one(cursor: psycopg.Cursor[Any]) -> dict[str, Any]:
    row: dict[str, Any] | None = cursor.fetchone()
    if row is None:
        raise RuntimeError("the warehouse returned no row where one was due")
    return row


def connect(publisher_url: str) -> psycopg.Connection[dict[str, Any]]:
    """A connection for publishing, with rows as dictionaries."""
    return psycopg.Connection[dict[str, Any]].connect(
        publisher_url, autocommit=True, row_factory=dict_row
    )
