"""The scoreboard: whether the numbers add up, are complete, fresh and final, as of now.

Belongs here: the asset ``reconciliation`` and its checks, which look across partitions and so fit
no run of a partition. Does not belong here: what they compare (``warehouse.proofs``,
``warehouse.freshness``, ``warehouse.periods``).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from dagster._utils.schedules import reverse_cron_string_iterator

from assets.partitioning import OWNERS
from assets.presentation import bars, column_schema
from assets.statements import code_version
from metrics.calendar import day_bounds
from metrics.datasets import DAILY_METRICS, DATASETS
from resources.warehouse import Warehouse
from warehouse.freshness import Freshness, read_freshness
from warehouse.periods import PeriodStates, State, bucket_name, declare_final
from warehouse.proofs import Proof, last_proofs, prove_now
from warehouse.statements import statement

RECONCILIATION = "reconciliation"
_PATIENCE = timedelta(hours=1)
_SHOWN = 20
_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
_CHECKS = {
    "adds_up": "What readers can see is what was published, and days sum to weeks and months.",
    "partitions_complete": "No partition is missing between a dataset's first and last one.",
    "no_failed_partitions": "No partition's last run failed, and none is held back by its audit.",
    "nothing_waits": "No day that changed at the source waits longer than an hour to be read.",
    "quarantine": "No source row is in quarantine.",
    "fresh": "The newest day was read from the source when it was last due.",
}


def scoreboard_asset(
    partitioned: Mapping[str, dg.PartitionsDefinition[str]],
    time_zone: str,
    final_after_days: int,
    refresh_cron: str,
) -> dg.AssetsDefinition:
    """The asset ``reconciliation``.

    Args:
        partitioned: every partitioned asset, with its partitions.
        refresh_cron: when the day in progress is published anew, in the reporting time zone.
    """

    @dg.asset(
        name=RECONCILIATION,
        description="The scoreboard: the last proof of every dataset at every hop, what Postgres "
        "can prove by itself right now, and which periods are open, provisional and final.",
        deps=list(DATASETS),
        group_name="trust",
        kinds={"postgres"},
        owners=OWNERS,
        code_version=code_version(*(statement(n).decode() for n in ("proofs", "period_states"))),
        metadata={
            "dagster/column_schema": column_schema(
                ("dataset", "text", "Finished table, or layer of the lake."),
                ("hop", "text", "The two layers that are compared."),
                ("partitions", "bigint", "Partitions compared."),
                ("proven", "bigint", "Partitions without a difference."),
                ("cells", "bigint", "Sums compared."),
                ("last_proof_at", "timestamptz", "When it was last done."),
                ("differences", "bigint", "What is wrong."),
            )
        },
        check_specs=[
            dg.AssetCheckSpec(name, asset=RECONCILIATION, description=text)
            for name, text in _CHECKS.items()
        ],
    )
    def reconciliation(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """Declare final what is, prove what can be proven, and look for what is missing."""
        now = datetime.now(UTC)
        with warehouse.connect() as connection:
            states = declare_final(connection, time_zone, final_after_days, now)
            proofs = [*last_proofs(connection), *prove_now(connection, now)]
            fresh = read_freshness(connection, time_zone)
        yield dg.MaterializeResult(metadata=_metadata(proofs, states, fresh))
        yield _adds_up(proofs)
        yield _partitions_complete(fresh)
        yield _no_failed_partitions(fresh, _failed(context.instance, partitioned))
        yield _nothing_waits(fresh, now)
        yield _quarantine(fresh)
        yield _is_fresh(fresh, time_zone, last_due(refresh_cron, time_zone, now))

    return reconciliation


def last_due(refresh_cron: str, time_zone: str, now: datetime) -> datetime:
    """When the newest day should have been read at the latest: the last tick but one.

    A tick's run needs until the next one before it is overdue.
    """
    ticks = reverse_cron_string_iterator(now.timestamp(), refresh_cron, time_zone)
    next(ticks)
    return next(ticks)


def _failed(
    instance: dg.DagsterInstance, partitioned: Mapping[str, dg.PartitionsDefinition[str]]
) -> dict[str, list[str]]:
    """Partitions whose last run failed, by asset."""
    failed: dict[str, list[str]] = {}
    for name, partitions in partitioned.items():
        keys = partitions.get_partition_keys()
        found = instance.get_status_by_partition(dg.AssetKey(name), keys, partitions) or {}
        if of_asset := [k for k, status in found.items() if status == AssetPartitionStatus.FAILED]:
            failed[name] = of_asset
    return failed


def _result(
    name: str, problems: Sequence[str], severity: dg.AssetCheckSeverity, fine: str
) -> dg.AssetCheckResult:
    more = len(problems) - _SHOWN
    text = "; ".join(problems[:_SHOWN]) + (f"; and {more:,} more" if more > 0 else "")
    return dg.AssetCheckResult(
        asset_key=RECONCILIATION,
        check_name=name,
        passed=not problems,
        severity=severity,
        metadata={"found": dg.MetadataValue.int(len(problems))},
        description=text or fine,
    )


def _adds_up(proofs: Sequence[Proof]) -> dg.AssetCheckResult:
    problems = [f"{p.hop}: {difference}" for p in proofs for difference in p.differences]
    cells = sum(proof.cells or 0 for proof in proofs)
    return _result("adds_up", problems, _ERROR, f"{cells:,} sums compared, none differs.")


def _partitions_complete(fresh: Freshness) -> dg.AssetCheckResult:
    problems = [f"{d.dataset} has no {gap}" for d in fresh.datasets for gap in d.gaps]
    return _result("partitions_complete", problems, _ERROR, "No partition is missing.")


def _no_failed_partitions(
    fresh: Freshness, failed: Mapping[str, Sequence[str]]
) -> dg.AssetCheckResult:
    problems = [
        f"{held.dataset} {held.partition_key} is held back by {_names(held.failures)}"
        for held in fresh.held_back
    ]
    problems += [f"the last run of {name} {key} failed" for name in failed for key in failed[name]]
    return _result("no_failed_partitions", problems, _ERROR, "None failed, none is held back.")


def _names(failures: Sequence[Mapping[str, object]]) -> str:
    return ", ".join(dict.fromkeys(str(failure["check"]) for failure in failures))


def _nothing_waits(fresh: Freshness, now: datetime) -> dg.AssetCheckResult:
    problems = [
        f"{day.fact} of {day.business_date} changed, found at {_text(day.found_at)},"
        f" requested {day.requests} times"
        for day in fresh.waiting
        if now - day.found_at > _PATIENCE
    ]
    return _result("nothing_waits", problems, _WARN, "No day waits to be read again.")


def _quarantine(fresh: Freshness) -> dg.AssetCheckResult:
    problems = [
        f"{found.fact}: {found.row_count:,} {'row' if found.row_count == 1 else 'rows'},"
        f" {found.reason}"
        for found in fresh.quarantined
    ]
    return _result("quarantine", problems, _WARN, "No row is in quarantine.")


def _is_fresh(fresh: Freshness, time_zone: str, due: datetime) -> dg.AssetCheckResult:
    daily = next((d for d in fresh.datasets if d.dataset == DAILY_METRICS.name), None)
    watermark = daily.source_watermark if daily else None
    if daily and watermark:  # a day read later has nothing from after its end
        watermark = min(watermark, day_bounds(time_zone, daily.newest_partition)[1])
    problems = []
    if watermark is None or watermark < due:
        seen = _text(watermark) if watermark else "no time"
        problems.append(f"{DAILY_METRICS.name} shows the source as of {seen}; due was {_text(due)}")
    return _result("fresh", problems, _WARN, "Read from the source when it was due.")


def _metadata(
    proofs: Sequence[Proof], states: PeriodStates, fresh: Freshness
) -> dict[str, dg.MetadataValue]:
    p995 = states.p995_seconds
    made = {name: count for name, count in states.made_final.items() if count}
    return {
        "proofs": _table(
            ("dataset", "hop", "partitions", "proven", "sums", "last proof", "differences"),
            (
                (
                    *(p.dataset, p.hop, p.partitions, p.proven),
                    *("" if p.cells is None else p.cells, p.at, len(p.differences)),
                )
                for p in proofs
            ),
        ),
        "datasets": _table(
            ("dataset", "complete through", "published", "missing", "held back"),
            (
                (d.dataset, d.complete_through, d.published_at, len(d.gaps), len(d.held_back))
                for d in fresh.datasets
            ),
        ),
        "facts": _table(
            ("fact", "newest day", "ingested until", "late days waiting"),
            ((f.fact, f.newest_day, f.ingested_until, f.late_days_waiting) for f in fresh.facts),
        ),
        "period_states": _table(
            ("dataset", *State),
            ((name, *counts.values()) for name, counts in states.counts.items()),
        ),
        "made_final_now": _table(("dataset", "partitions"), made.items()),
        "recorded_within_99_5_percent": dg.MetadataValue.text(
            "not measured" if p995 is None else bucket_name(p995)
        ),
        "days_are_final_after": dg.MetadataValue.text(
            bucket_name(int(states.final_after.total_seconds()))
        ),
        "recorded_within": bars(
            [(bucket_name(edge), count) for edge, count in sorted(states.histogram.items())],
            "recorded within",
            "movements",
        ),
        "differences": dg.MetadataValue.int(sum(len(p.differences) for p in proofs)),
        "periods_behind": dg.MetadataValue.int(sum(p.behind for p in proofs)),
    }


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MarkdownMetadataValue:
    lines = [f"| {' | '.join(columns)} |", f"|{' :-- |' * len(columns)}"]
    lines += [f"| {' | '.join(map(_text, row))} |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)
