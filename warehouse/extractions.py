"""Extractions: how far the source was read, by fact and reporting day.

Belongs here: the record of the last extraction of each day and its fence. Does not belong here: the
rows themselves (the lake), or what is published of them (``warehouse.publish``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import psycopg


def extraction_watermarks(
    connection: psycopg.Connection[Any], facts: Sequence[str], first: date, last: date
) -> dict[date, datetime]:
    """For each day that every one of the facts was extracted for, the oldest source snapshot."""
    rows = connection.execute(
        """SELECT business_date, min(source_snapshot_at) AS watermark
        FROM ops.extractions
        WHERE fact = ANY(%s) AND business_date BETWEEN %s AND %s
        GROUP BY business_date HAVING count(*) = cardinality(%s::text[])""",
        (list(facts), first, last, list(facts)),
    ).fetchall()
    return {row["business_date"]: row["watermark"] for row in rows}


def record_extraction(
    connection: psycopg.Connection[Any],
    rows: Sequence[tuple[str, date, datetime, int, int, str]],
) -> None:
    """Note how far days of facts were read; an older lake snapshot never replaces a newer one.

    Args:
        rows: fact, business date, source snapshot, lake snapshot, row count, Dagster run.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO ops.extractions AS e (
                fact, business_date, source_snapshot_at, lake_snapshot, row_count, run_id)
            VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (fact, business_date) DO UPDATE SET
                source_snapshot_at = excluded.source_snapshot_at,
                lake_snapshot = excluded.lake_snapshot,
                row_count = excluded.row_count, run_id = excluded.run_id
            WHERE excluded.lake_snapshot > e.lake_snapshot""",
            rows,
        )
