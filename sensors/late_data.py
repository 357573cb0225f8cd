"""Late data: past days that changed at the source are read and published again.

Belongs here: the sensor, which hands what it finds from one function to the next, and what its tick
shows. Does not belong here: how changes are found (``resources.late_data``), remembered
(``warehouse.late_days``) or turned into runs (``resources.late_requests``).

Whatever a tick was doing when it was killed, the next one does again: found days are remembered
before the cursor moves, and Dagster keeps the cursor together with the runs requested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from metrics.calendar import DayRange, business_date, day_start, parse_date
from resources.lake import Lake
from resources.late_data import (
    LateRows,
    SourceChanges,
    find_late_rows,
    format_cursor,
    parse_cursor,
    read_changes,
)
from resources.late_requests import Plan, RefreshRun, Request, plan_requests
from resources.source import Source
from resources.source_contract import DAILY_FACTS
from resources.warehouse import Warehouse
from warehouse import late_days
from warehouse.late_days import FoundDay

LATE_DATA = "late_data"
CAUSE_TAG = "boxoffice/late_data"
"""Tag of the runs requested: facts, each with what was found. ``dagster.yaml`` limits them."""
REQUESTED_TAG = "boxoffice/late_data_requested_at"

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_SETTLES = timedelta(minutes=45)
_NEVER_SUBMITTED = timedelta(minutes=10)
_RUNS_LOOKED_AT = 500
"""Finished ones, newest first: several times what runs within the longest back-off, six hours."""


def build_late_data(
    job_name: str,
    time_zone: str,
    start_date: date,
    days_per_run: int,
    overlap: timedelta,
    run_tags: Mapping[str, str],
) -> dg.SensorDefinition:
    """The sensor that requests the past days whose facts changed.

    Args:
        job_name: job that reads days from the source and publishes them.
        overlap: how long after its update time a change may be committed.
    """

    @dg.sensor(
        name=LATE_DATA,
        job_name=job_name,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Finds past days that changed at the source and publishes exactly them anew.",
    )
    def late_data(
        context: dg.SensorEvaluationContext,
        source: dg.ResourceParam[Source],
        lake: dg.ResourceParam[Lake],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        today = business_date(time_zone, now)
        with warehouse.connect() as connection:
            start = late_days.first_extraction(connection)
            if start is None:
                return dg.SkipReason("nothing was read from the source yet, so nothing can be late")
            changes = read_changes(source.url, parse_cursor(context.cursor, start), overlap)
            found = find_late_rows(lake, changes, DayRange(time_zone, start_date, today), today)
            since = {each.fact.name: each.since for each in changes.facts}
            new = late_days.record_changes(connection, found.rows, changes.found_at, since)
            late_days.settle(connection)
            late = late_days.unresolved(connection)
            plan = plan_requests(
                late,
                refresh_runs(
                    context.instance,
                    job_name,
                    now,
                    min((day.requested_at for day in late if day.requested_at), default=None),
                )
                if late
                else [],
                changes.found_at,
                days_per_run=days_per_run,
                settling=_settling(time_zone, now, today),
            )
            ranges = [(request.first, request.last) for request in plan.requests]
            late_days.mark_requested(connection, ranges, changes.found_at)
        message = describe(changes, found, new, plan)
        if new or late:
            context.log.info(message)
        return dg.SensorResult(
            run_requests=[
                _run_request(request, changes.found_at, run_tags) for request in plan.requests
            ],
            skip_reason=None if plan.requests else dg.SkipReason(message),
            cursor=format_cursor(changes.cursor),
        )

    return late_data


def refresh_runs(
    instance: dg.DagsterInstance, job_name: str, now: datetime, requested_since: datetime | None
) -> list[RefreshRun]:
    """Unfinished runs that read days from the source, and the sensor's own runs, newest first.

    Args:
        requested_since: the sensor's finished runs matter only from then on; None for none of them.
    """
    records = {
        record.dagster_run.run_id: record
        for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))
        if not _never_submitted(record, now)
    }
    if requested_since is not None:
        for record in instance.get_run_records(
            dg.RunsFilter(job_name=job_name, created_after=requested_since - _NEVER_SUBMITTED),
            limit=_RUNS_LOOKED_AT,
        ):
            if not _never_submitted(record, now):
                records.setdefault(record.dagster_run.run_id, record)
    newest = sorted(records.values(), key=lambda record: record.create_timestamp, reverse=True)
    return [run for record in newest if (run := _refresh_run(record.dagster_run, job_name))]


def describe(changes: SourceChanges, found: LateRows, new: Sequence[FoundDay], plan: Plan) -> str:
    """What a tick found and did, for the Dagster UI."""
    return "; ".join(_sentences(changes, found, new, plan))


def _sentences(
    changes: SourceChanges, found: LateRows, new: Sequence[FoundDay], plan: Plan
) -> Iterator[str]:
    if new:
        rows = Counter({fact.name: 0 for fact in DAILY_FACTS})
        for day in new:
            rows[day.fact] += day.rows
        counted = ", ".join(f"{fact} {count}" for fact, count in rows.items() if count)
        days = sorted({day.business_date for day in new})
        yield f"found late rows ({counted}) of {_count(len(days), 'day')}: {_ranges(days)}"
    else:
        yield f"found nothing late in {_count(changes.rows_read, 'row')} written lately"
    if bounded := [each.fact.name for each in changes.facts if each.is_bounded]:
        yield f"more to read of {', '.join(bounded)} in the next tick"
    if found.outside:
        counted = ", ".join(f"{fact} {count}" for fact, count in found.outside.items())
        yield f"ignored instants before the first reporting day or after today ({counted})"
    if plan.requests:
        ranges = ", ".join(_range(r.first, r.last) for r in plan.requests)
        yield f"requested {_count(len(plan.requests), 'run')}: {ranges}"
    if plan.covered:
        yield f"{_ranges(plan.covered)} is read by a run that is not finished"
    if plan.settling:
        yield f"{_ranges(plan.settling)} has just ended and is left to its schedule"
    if plan.waiting:
        yield f"{_count(len(plan.waiting), 'day')} waiting for a place: {_ranges(plan.waiting)}"
    for run_id, days in _by_run(plan.failing).items():
        again = "requested again later" if set(days) <= set(plan.backing_off) else "due again"
        yield f"FAILING: {_ranges(days)} is still late after run {run_id}; {again}"


def _by_run(failing: Mapping[date, str]) -> dict[str, list[date]]:
    days: dict[str, list[date]] = {}
    for day, run_id in failing.items():
        days.setdefault(run_id, []).append(day)
    return days


def _ranges(days: Sequence[date]) -> str:
    starts = [d for d in days if d - timedelta(days=1) not in days]
    ends = [d for d in days if d + timedelta(days=1) not in days]
    return ", ".join(_range(*both) for both in zip(sorted(starts), sorted(ends), strict=True))


def _range(first: date, last: date) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _settling(time_zone: str, now: datetime, today: date) -> frozenset[date]:
    """Yesterday, until its own schedule has had the time to read it."""
    just_ended = now < day_start(time_zone, today) + _SETTLES
    return frozenset({today - timedelta(days=1)} if just_ended else set())


def _run_request(
    request: Request, requested_at: datetime, tags: Mapping[str, str]
) -> dg.RunRequest:
    own = {**tags, CAUSE_TAG: request.cause, REQUESTED_TAG: requested_at.isoformat()}
    if request.first == request.last:
        return dg.RunRequest(request.run_key, partition_key=str(request.first), tags=own)
    return dg.RunRequest(
        request.run_key,
        tags={
            **own,
            ASSET_PARTITION_RANGE_START_TAG: str(request.first),
            ASSET_PARTITION_RANGE_END_TAG: str(request.last),
        },
    )


def _refresh_run(run: dg.DagsterRun, job_name: str) -> RefreshRun | None:
    """A run as the plan sees it; None for one that reads no days from the source."""
    first = run.tags.get(ASSET_PARTITION_RANGE_START_TAG) or run.tags.get(PARTITION_NAME_TAG)
    last = run.tags.get(ASSET_PARTITION_RANGE_END_TAG) or run.tags.get(PARTITION_NAME_TAG)
    if not first or not last or not _reads_every_fact(run, job_name):
        return None
    requested_at = run.tags.get(REQUESTED_TAG)
    return RefreshRun(
        run_id=run.run_id,
        state="unfinished"
        if run.status in _UNFINISHED
        else "succeeded"
        if run.status == dg.DagsterRunStatus.SUCCESS
        else "failed",
        first=parse_date(first),
        last=parse_date(last),
        requested_at=datetime.fromisoformat(requested_at) if requested_at else None,
    )


def _reads_every_fact(run: dg.DagsterRun, job_name: str) -> bool:
    selected = run.asset_selection
    if selected is None:
        return run.job_name == job_name
    return {dg.AssetKey(fact.table) for fact in DAILY_FACTS} <= selected


def _never_submitted(record: dg.RunRecord, now: datetime) -> bool:
    """A run that was created and left: the daemon was killed before it submitted it."""
    created = record.create_timestamp
    created = created if created.tzinfo else created.replace(tzinfo=UTC)
    return (
        record.dagster_run.status == dg.DagsterRunStatus.NOT_STARTED
        and created < now - _NEVER_SUBMITTED
    )
