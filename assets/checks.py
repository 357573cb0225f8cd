"""Asset checks of the finished datasets, as Dagster shows them.

Belongs here: their specifications, and what the UI says of a verdict. Does not belong here: what is
checked (``metrics.audits``) or what a failed one holds back (``assets.publishing``).
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from metrics.audits import EXAMPLES, Finding, Verdict, checks_of
from metrics.datasets import Dataset


def check_specs(dataset: Dataset) -> list[dg.AssetCheckSpec]:
    """The checks of a dataset; blocking ones hold publication and rollups back."""
    return [
        dg.AssetCheckSpec(
            check.name, asset=dataset.name, blocking=check.blocking, description=check.description
        )
        for check in checks_of(dataset)
    ]


def check_result(
    dataset: Dataset, verdict: Verdict, cells_compared: int = 0
) -> dg.AssetCheckResult:
    """What a check found: how much, in which partitions, and the first of it.

    Args:
        cells_compared: sums that were compared, of a check that compares sums.
    """
    metadata: dict[str, dg.MetadataValue] = {}
    if cells_compared:
        metadata["cells_compared"] = dg.MetadataValue.int(cells_compared)
    if not verdict.passed:
        partitions = sorted({finding.partition_key for finding in verdict.findings})
        metadata["found"] = dg.MetadataValue.int(sum(f.count for f in verdict.findings))
        metadata["failing_partitions"] = dg.MetadataValue.json(partitions)
        metadata["findings"] = _table(verdict.findings)
    return dg.AssetCheckResult(
        asset_key=dataset.name,
        check_name=verdict.check.name,
        passed=verdict.passed,
        severity=(
            dg.AssetCheckSeverity.ERROR if verdict.check.blocking else dg.AssetCheckSeverity.WARN
        ),
        metadata=metadata,
        description=None if verdict.passed else summary(verdict),
    )


def summary(verdict: Verdict) -> str:
    """The first findings of a check in one line."""
    named = "; ".join(_sentence(finding) for finding in verdict.findings[:3])
    more = len(verdict.findings) - 3
    return f"{verdict.check.name}: {named}{f'; and {more} more' if more > 0 else ''}"


def _sentence(finding: Finding) -> str:
    first = f" ({finding.examples[0]})" if finding.examples else ""
    return f"{finding.partition_key}: {finding.what}{first}, {finding.count} in all"


def _table(findings: Sequence[Finding]) -> dg.MarkdownMetadataValue:
    lines = ["| partition | what | how many | where |", "| :-- | :-- | --: | :-- |"]
    for finding in findings[:EXAMPLES]:
        where = "<br>".join(finding.examples)
        lines.append(f"| {finding.partition_key} | {finding.what} | {finding.count:,} | {where} |")
    if len(findings) > EXAMPLES:
        lines.append(f"| and {len(findings) - EXAMPLES:,} more | | | |")
    return dg.MetadataValue.md("\n".join(lines))
