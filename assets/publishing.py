"""Publishing what a step computed: nothing that failed its audit becomes visible.

Belongs here: the order of audit, record and publication, the same for every finished dataset, and
what the step tells Dagster. Does not belong here: what is checked (``metrics.audits``) or the
transaction of a publication (``warehouse.publish``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
import psycopg

from assets.checks import check_result, summary
from assets.compute import Audited
from assets.presentation import publication_metadata
from metrics.audits import EXAMPLES, Difference, Verdict, audit_rows, reconciled
from metrics.datasets import Dataset
from warehouse.audits import PartitionAudit, record_audits
from warehouse.faults import FaultPoint, reached
from warehouse.publish import ControlSumError, Provenance, publish
from warehouse.restatements import LedgerHistory

Told = dg.MaterializeResult[None] | dg.AssetCheckResult
ALL = "all"


def publish_audited(
    context: dg.AssetExecutionContext,
    connection: psycopg.Connection[Any],
    dataset: Dataset,
    computed: Audited,
    parts: Mapping[str, pl.DataFrame],
    provenance: Callable[[str], Provenance],
    further: Sequence[Verdict] = (),
    history: LedgerHistory | None = None,
) -> Iterator[Told]:
    """Audit every row of the step, then publish each partition in a transaction of its own.

    Args:
        parts: rows by partition key.
        provenance: of a partition.
        further: verdicts besides those every dataset has.
        history: where the movements behind a restatement are found.

    Raises:
        dagster.Failure: a blocking check failed; readers keep the versions they had.
    """
    reconciliation = computed.reconciliation
    verdicts = [
        *audit_rows(dataset, computed.rows, computed.catalogue),
        reconciled(reconciliation.differences, reconciliation.without_totals),
        *further,
    ]
    cells = reconciliation.cells_compared
    audits = {key: PartitionAudit(cells.get(key, 0)) for key in parts}

    def record(audited: Mapping[str, PartitionAudit]) -> None:
        record_audits(connection, dataset.name, audited, computed.lake_snapshot, context.run.run_id)

    def results() -> Iterator[dg.AssetCheckResult]:
        for verdict in verdicts:
            compared = sum(cells.values()) if verdict.check.name == "reconciled" else 0
            yield check_result(dataset, verdict, compared)

    if any(verdict.blocks for verdict in verdicts):
        record(_held_back(verdicts, cells))
        yield from results()
        raise _failure(dataset, verdicts)
    record(audits)
    for number, (key, rows) in enumerate(parts.items()):
        given = provenance(key)
        try:
            publication = publish(connection, dataset, key, rows, given, history)
        except ControlSumError as error:
            hop = f"{dataset.name} -> postgres"
            found = [Difference(key, hop, *difference) for difference in error.differences]
            verdicts = [v for v in verdicts if v.check.name != "reconciled"]
            verdicts.append(reconciled(found, ()))
            record(_held_back(verdicts, cells))
            yield from results()
            raise _failure(dataset, verdicts) from error
        if number == 0:
            reached(FaultPoint.PUBLISHED)
        context.add_asset_metadata(
            publication_metadata(dataset, publication, given, rows),
            dataset.name,
            None if dataset.period == "all" else key,
        )
    yield dg.MaterializeResult()
    yield from results()


def _held_back(verdicts: Sequence[Verdict], cells: Mapping[str, int]) -> dict[str, PartitionAudit]:
    """The audits of the partitions in which a blocking check found something."""
    failures: dict[str, list[dict[str, Any]]] = {}
    for verdict in verdicts:
        for finding in verdict.findings if verdict.blocks else ():
            failures.setdefault(finding.partition_key, []).append(
                {
                    "check": verdict.check.name,
                    "what": finding.what,
                    "count": finding.count,
                    "examples": finding.examples[:EXAMPLES],
                }
            )
    return {key: PartitionAudit(cells.get(key, 0), found) for key, found in failures.items()}


def _failure(dataset: Dataset, verdicts: Sequence[Verdict]) -> dg.Failure:
    failed = [verdict for verdict in verdicts if verdict.blocks]
    keys = sorted({finding.partition_key for v in failed for finding in v.findings})
    named = ", ".join(keys[:EXAMPLES]) + ", ..." * (len(keys) > EXAMPLES)
    return dg.Failure(
        f"{dataset.name} was held back: {named} failed"
        f" {', '.join(verdict.check.name for verdict in failed)}. Readers keep the version before."
        f" {' | '.join(summary(verdict) for verdict in failed)}",
        allow_retries=False,
    )
