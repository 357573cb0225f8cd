"""Extractions: how far the source was read, by fact and reporting day.

Belongs here: the record of the last extraction of each day, of the rows it could not use, and
their fence. Does not belong here: which rows those are (``resources.quarantine``), the rows
themselves (the lake), or what is published of them (``warehouse.publish``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import psycopg


def record_extraction(
    connection: psycopg.Connection[Any],
    rows: Sequence[tuple[str, date, datetime, int, int, int, str]],
) -> None:
    """Note how far days of facts were read; an older lake snapshot never replaces a newer one.

    Args:
        rows: fact, business date, source snapshot, lake snapshot, row count, quarantined rows,
            Dagster run.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO ops.extractions AS e (
                fact, business_date, source_snapshot_at, lake_snapshot, row_count,
                quarantined_count, run_id)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (fact, business_date) DO UPDATE SET
                source_snapshot_at = excluded.source_snapshot_at,
                lake_snapshot = excluded.lake_snapshot,
                row_count = excluded.row_count,
                quarantined_count = excluded.quarantined_count, run_id = excluded.run_id
            WHERE excluded.lake_snapshot > e.lake_snapshot""",
            rows,
        )


_QUARANTINE = """
INSERT INTO ops.quarantine AS q (
    fact, row_key, business_date, column_name, reason, found,
    first_seen_at, first_seen_run, last_seen_at, last_seen_run)
SELECT DISTINCT ON (n.fact, n.business_date, n.row_key)
       n.fact, n.row_key, n.business_date, n.column_name, n.reason, n.found,
       %(at)s, %(run)s, %(at)s, %(run)s
FROM unnest(%(fact)s::text[], %(row_key)s::text[], %(business_date)s::date[],
            %(column_name)s::text[], %(reason)s::text[], %(found)s::text[])
     AS n (fact, row_key, business_date, column_name, reason, found)
WHERE NOT EXISTS (
    SELECT FROM ops.extractions AS e
    WHERE e.fact = n.fact AND e.source_snapshot_at > %(at)s
      AND (n.business_date IS NULL OR e.business_date = n.business_date))
ON CONFLICT (fact, business_date, row_key) DO UPDATE SET
    column_name = excluded.column_name, reason = excluded.reason, found = excluded.found,
    last_seen_at = excluded.last_seen_at, last_seen_run = excluded.last_seen_run
WHERE q.last_seen_at <= excluded.last_seen_at
"""

_MENDED = """
DELETE FROM ops.quarantine
WHERE fact = ANY(%(facts)s) AND last_seen_at < %(at)s
  AND (business_date IS NULL OR business_date BETWEEN %(first)s AND %(last)s)
"""
_BATCH = 50_000


def record_quarantine(
    connection: psycopg.Connection[Any],
    rows: Sequence[Mapping[str, Any]],
    *,
    facts: Sequence[str],
    days: tuple[date, date] | None,
    snapshot_at: datetime,
    run_id: str,
) -> None:
    """Note the rows that one extraction could not use, and forget those it found mended.

    An older extraction never overwrites what a newer one noted.

    Args:
        rows: fact, row_key, business_date, column_name, reason and found of each.
        facts: everything that was read.
        days: first and last day that was read; None where only the catalogue was.
        snapshot_at: source transaction time.
    """
    names = ("fact", "row_key", "business_date", "column_name", "reason", "found")
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('boxoffice quarantine'))")
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            columns = {name: [row[name] for row in batch] for name in names}
            connection.execute(_QUARANTINE, {**columns, "at": snapshot_at, "run": run_id})
        first, last = days or (None, None)
        connection.execute(
            _MENDED, {"facts": list(facts), "at": snapshot_at, "first": first, "last": last}
        )
