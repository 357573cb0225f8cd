"""Audits: the record of whether each partition was fit to publish.

Belongs here: the last audit of every partition (``ops.audits``) and its fence. Does not belong
here: what is checked (``metrics.audits``) or how it is told (``assets.checks``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg.types.json import Jsonb


@dataclass(frozen=True)
class PartitionAudit:
    """How one partition came out of its audit.

    Attributes:
        cells_compared: sums compared with the layer before.
        failures: blocking checks that failed, each with what it found; passed where there are none.
    """

    cells_compared: int
    failures: Sequence[Mapping[str, Any]] = ()


def record_audits(
    connection: psycopg.Connection[Any],
    dataset: str,
    audits: Mapping[str, PartitionAudit],
    lake_snapshot: int,
    run_id: str,
) -> None:
    """Note how partitions came out; an audit of an older lake snapshot never replaces a newer one.

    Args:
        audits: by partition key.
    """
    connection.execute(
        """INSERT INTO ops.audits AS a (
            dataset, partition_key, passed, failures, cells_compared, lake_snapshot, run_id)
        SELECT %s, key, failures = '[]', failures, cells, %s, %s
        FROM unnest(%s::text[], %s::jsonb[], %s::bigint[]) AS u (key, failures, cells)
        ON CONFLICT (dataset, partition_key) DO UPDATE SET
            passed = excluded.passed, failures = excluded.failures,
            cells_compared = excluded.cells_compared, lake_snapshot = excluded.lake_snapshot,
            run_id = excluded.run_id, audited_at = clock_timestamp()
        WHERE excluded.lake_snapshot >= a.lake_snapshot""",
        (
            dataset,
            lake_snapshot,
            run_id,
            list(audits),
            [Jsonb(list(audit.failures)) for audit in audits.values()],
            [audit.cells_compared for audit in audits.values()],
        ),
    )


def published_orders(
    connection: psycopg.Connection[Any], first: date, last: date
) -> dict[date, int]:
    """Orders of each published day of a range, over all currencies."""
    rows = connection.execute(
        """SELECT n.partition_key::date AS day, coalesce(
            (SELECT sum((of_currency.sums ->> 'orders')::bigint)::bigint
            FROM jsonb_each(p.control_sums) AS of_currency (currency, sums)), 0) AS orders
        FROM ops.partitions AS n JOIN ops.publications AS p USING (publication_id)
        WHERE n.dataset = 'daily_metrics' AND n.partition_key BETWEEN %s AND %s""",
        (first.isoformat(), last.isoformat()),
    ).fetchall()
    return {row["day"]: row["orders"] for row in rows}
