"""Backfills of a running deployment: launched, followed, retried and cancelled over GraphQL.

Belongs here: what a backfill of reporting days is to Dagster, and telling how far it is and why it
failed. The backfill itself is Dagster's own, the same as one launched in the UI: its daemon cuts it
into runs (``BackfillPolicy`` of the assets) and queues them. Does not belong here: the first load,
before Dagster serves (``pipelines.history``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from metrics.calendar import DayRange, parse_date
from pipelines import backfill_queries as queries
from pipelines.webserver import Webserver

Progress = Callable[[str, float | None], None]
Say = Callable[[str], None]

PRIORITY = "-10"
"""Below runs without a tag (0) and far below the live day's (10)."""

RECOMPUTED_GROUPS = ("ledger", "daily")
SOURCE_GROUPS = ("raw", *RECOMPUTED_GROUPS)

_POLL_SECONDS = 1.0
_DAEMON_SILENT_AFTER_SECONDS = 120.0
_PICKED_UP_WITHIN = "Dagster's daemon looks for new backfills every 30 s"
_FINISHED = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
_RUN_FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}
_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_PARTITION_TAG = "dagster/partition"
_WILL_RETRY_TAG, _RETRY_TAG = "dagster/will_retry", "dagster/auto_retry_run_id"


class BackfillError(RuntimeError):
    """The backfill cannot be launched, or did not publish every day; the message says why."""


@dataclass(frozen=True)
class BackfillRun:
    """One run of a backfill: some assets for a range of days.

    Attributes:
        materializations: how many days of how many assets it has stored so far.
        is_retried: Dagster will launch another run in its place.
    """

    run_id: str
    status: str
    assets: frozenset[str]
    days: frozenset[date]
    materializations: int = 0
    is_retried: bool = False

    @property
    def is_finished(self) -> bool:
        """Whether it ended and no other run takes its place."""
        return self.status in _RUN_FINISHED and not self.is_retried


@dataclass(frozen=True)
class Backfill:
    """A backfill as Dagster knows it, of assets partitioned by day.

    Attributes:
        assets: the day-partitioned assets it is for.
        days: the days it is for.
        error: why the backfill itself, not one of its runs, failed.
    """

    backfill_id: str
    status: str
    assets: frozenset[str]
    days: frozenset[date]
    runs: tuple[BackfillRun, ...]
    error: str | None = None

    @property
    def published(self) -> frozenset[date]:
        """Days for which every asset was materialized by a run that succeeded."""
        return self._covered(run for run in self.runs if run.status == "SUCCESS")

    @property
    def missing(self) -> frozenset[date]:
        """Days that are not published by this backfill."""
        return self.days - self.published

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen; Dagster's daemon notes it up to 30 s later."""
        if any(not run.is_finished for run in self.runs):
            return False
        return self.status in _FINISHED or self._covered(self.runs) == self.days

    @property
    def share(self) -> float:
        """Share of the work that is done, 0 to 1."""
        done = sum(
            min(run.materializations, len(run.days) * len(run.assets))
            for run in self.runs
            if run.status not in {"FAILURE", "CANCELED"}
        )
        return min(1.0, done / max(1, len(self.days) * len(self.assets)))

    def _covered(self, runs: Iterable[BackfillRun]) -> frozenset[date]:
        assets: dict[date, set[str]] = {}
        for run in runs:
            for day in run.days:
                assets.setdefault(day, set()).update(run.assets)
        return frozenset(day for day in self.days if self.assets <= assets.get(day, set()))


def launch(dagster: Webserver, first: str, last: str, *, metrics_only: bool = False) -> str:
    """Launch a backfill of the reporting days ``first`` to ``last``, both included.

    Args:
        first: ``YYYY-MM-DD``, in the reporting time zone.
        last: likewise.
        metrics_only: recompute from the lake, without reading the source.

    Returns:
        The backfill's id.

    Raises:
        BackfillError: a date is malformed, or not a day the deployment has.
        WebserverError: Dagster does not answer or refuses.
    """
    days = _requested_days(first, last)
    groups = RECOMPUTED_GROUPS if metrics_only else SOURCE_GROUPS
    assets, first_day, today = _daily_assets(dagster, groups)
    if days.first < first_day:
        raise BackfillError(
            f"{days.first} is before the first reporting day, {first_day} (BOXOFFICE_START_DATE)"
        )
    if days.last > today:
        raise BackfillError(f"{days.last} is in the future; the reporting day is {today}")
    return _launch(dagster, assets, days.days, f"Days {days.first} to {days.last}", {})


def retry(dagster: Webserver, backfill_id: str) -> str:
    """Launch a backfill of the days an earlier one did not publish, with the same assets.

    Every asset of those days is run again. Dagster's own retry "from failure" runs only what is
    not materialized: it would neither read corrected source rows nor repeat a failed check.

    Raises:
        BackfillError: it is unknown, still going on, or left nothing to retry.
    """
    earlier = load(dagster, backfill_id)
    if not earlier.is_finished:
        raise BackfillError(
            f"backfill {backfill_id} is still going on; follow it with "
            f"`boxoffice backfill --follow {backfill_id}`"
        )
    if not earlier.missing:
        raise BackfillError(
            f"backfill {backfill_id} published all its days; there is nothing to retry"
        )
    days = sorted(earlier.missing)
    return _launch(
        dagster,
        sorted(earlier.assets),
        days,
        f"Retry of {backfill_id}: {describe_days(days)}"[:100],
        {"dagster/parent_backfill_id": backfill_id},
    )


def cancel(dagster: Webserver, backfill_id: str) -> None:
    """Stop a backfill and its runs; days already published stay.

    Raises:
        BackfillError: it is unknown or has ended.
    """
    backfill = load(dagster, backfill_id)
    if backfill.is_finished:
        raise BackfillError(f"backfill {backfill_id} has ended already")
    dagster.expect("CancelBackfillSuccess", queries.CANCEL, id=backfill_id)
    # Dagster's daemon would stop them too, but only when it next looks.
    unfinished = [run.run_id for run in load(dagster, backfill_id).runs if not run.is_finished]
    if unfinished:
        dagster.expect("TerminateRunsResult", queries.TERMINATE, ids=unfinished)


def follow(dagster: Webserver, backfill_id: str, progress: Progress, say: Say) -> Backfill:
    """Wait until a backfill ends, telling how far it is.

    Returns:
        The backfill once nothing more will happen.
    """
    backfill = load(dagster, backfill_id)
    daemon_was_missing = False
    while not backfill.is_finished:
        progress(_describe(backfill), backfill.share if backfill.runs else None)
        if not backfill.runs and not daemon_was_missing:
            daemon_was_missing = _say_when_daemon_is_silent(dagster, say)
        time.sleep(_POLL_SECONDS)
        answer = dagster.expect("PartitionBackfill", queries.BACKFILL, id=backfill_id)
        backfill = replace(backfill, **_state(answer))
    return backfill


def load(dagster: Webserver, backfill_id: str) -> Backfill:
    """Read a backfill of day-partitioned assets.

    Raises:
        BackfillError: it does not exist, or is of something else.
    """
    answer = dagster.expect("PartitionBackfill", queries.BACKFILL, id=backfill_id)
    daily, _, _ = _daily_assets(dagster, SOURCE_GROUPS)
    assets = [_name(key) for key in answer["assetSelection"] or [] if _name(key) in daily]
    if not assets:
        raise BackfillError(
            f"backfill {backfill_id} is not one of daily assets; see {page(dagster, backfill_id)}"
        )
    target = dagster.expect(
        "PartitionBackfill", queries.TARGET, id=backfill_id, asset=_key(assets[0])
    )
    return Backfill(
        backfill_id=backfill_id,
        assets=frozenset(assets),
        days=frozenset(
            day for part in target["target"]["ranges"] for day in _days(part["start"], part["end"])
        ),
        **_state(answer),
    )


def explain(dagster: Webserver, backfill: Backfill) -> str:
    """Which days are not published, why, and what to do about it."""
    outcome = "was cancelled" if backfill.status in {"CANCELED", "CANCELING"} else "failed"
    published = f"{len(backfill.published)} of {len(backfill.days)} days are published"
    missing = describe_days(sorted(backfill.missing))
    lines = [f"backfill {backfill.backfill_id} {outcome}: {published}, not {missing}"]
    if backfill.error:
        lines.append(f"  {backfill.error}")
    for run in backfill.runs:
        if run.status == "FAILURE" and run.days & backfill.missing:
            lines.append(
                f"  run {run.run_id} of {describe_days(sorted(run.days))}: "
                f"{dagster.page(f'runs/{run.run_id}')}"
            )
            lines += [f"    {reason}" for reason in _reasons(dagster, run.run_id)]
    lines.append(f"Retry only these days with: boxoffice backfill --retry {backfill.backfill_id}")
    return "\n".join(lines)


def page(dagster: Webserver, backfill_id: str) -> str:
    """Address of a backfill in the UI."""
    return dagster.page(f"runs/b/{backfill_id}")


def describe_days(days: Sequence[date]) -> str:
    """Sorted days as ranges: ``2026-01-01 to 2026-01-03, 2026-01-09``."""
    ranges: list[list[date]] = []
    for day in days:
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1][1] = day
        else:
            ranges.append([day, day])
    return ", ".join(
        str(first) if first == last else f"{first} to {last}" for first, last in ranges
    )


def _requested_days(first: str, last: str) -> DayRange:
    try:
        start, end = parse_date(first), parse_date(last)
    except ValueError as error:
        raise BackfillError(str(error)) from None
    if end < start:
        raise BackfillError(f"the range ends ({end}) before it starts ({start})")
    return DayRange("UTC", start, end)


def _daily_assets(dagster: Webserver, groups: Sequence[str]) -> tuple[list[str], date, date]:
    """Day-partitioned assets of the groups, the first reporting day and the one in progress."""
    nodes = dagster.graphql(queries.ASSETS)["assetNodes"]
    names = sorted(
        _name(node["assetKey"])
        for node in nodes
        if node["groupName"] in groups
        and node["isMaterializable"]
        and (node["partitionDefinition"] or {}).get("type") == "TIME_WINDOW"
    )
    if not names:
        raise BackfillError(
            f"Dagster at {dagster.url} has no partitioned assets in the groups "
            f"{', '.join(groups)}; see {dagster.page('locations')} whether its code is loaded"
        )
    keys = dagster.graphql(queries.PARTITIONS, asset=_key(names[0]))["asset"]["partitionKeys"]
    return names, parse_date(keys[0]), parse_date(keys[-1])


def _launch(
    dagster: Webserver,
    assets: Sequence[str],
    days: Sequence[date],
    title: str,
    tags: Mapping[str, str],
) -> str:
    launched = dagster.expect(
        "LaunchBackfillSuccess",
        queries.LAUNCH,
        params={
            "assetSelection": [_key(name) for name in assets],
            "partitionNames": [day.isoformat() for day in days],
            "title": title,
            "tags": [
                {"key": key, "value": value}
                for key, value in {**tags, "dagster/priority": PRIORITY}.items()
            ],
        },
    )
    return str(launched["backfillId"])


def _say_when_daemon_is_silent(dagster: Webserver, say: Say) -> bool:
    daemon = dagster.graphql(queries.DAEMON)["instance"]["daemonHealth"]["daemonStatus"]
    last = daemon["lastHeartbeatTime"]
    if last is not None and time.time() - last < _DAEMON_SILENT_AFTER_SECONDS:
        return False
    when = "has never run" if last is None else f"was last seen {time.time() - last:.0f} s ago"
    say(f"Dagster's backfill daemon {when}; the backfill starts as soon as it runs (`make up`).")
    return True


def _describe(backfill: Backfill) -> str:
    if backfill.status == "CANCELING":
        return "cancelling"
    if not backfill.runs:
        return f"waiting to start ({_PICKED_UP_WITHIN})"
    states = [run.status for run in backfill.runs]
    counts = {
        "done": states.count("SUCCESS"),
        "running": sum(state in {"STARTING", "STARTED", "CANCELING"} for state in states),
        "queued": sum(state in {"QUEUED", "NOT_STARTED"} for state in states),
        "failed": states.count("FAILURE") + states.count("CANCELED"),
    }
    runs = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{len(backfill.published)} of {len(backfill.days)} days; runs: {runs}"


def _reasons(dagster: Webserver, run_id: str) -> list[str]:
    """Why the steps of a run failed; of checks, which and what they said."""
    reasons: list[str] = []
    cursor = None
    while True:
        log = dagster.expect("EventConnection", queries.LOG, id=run_id, cursor=cursor)
        for event in log["events"]:
            if event["__typename"] == "ExecutionStepFailureEvent":
                error = event["error"] or {"message": event["message"], "causes": []}
                root = ([error, *error["causes"]])[-1]
                reasons.append(f"{event['stepKey']}: {' '.join(root['message'].split())}")
            elif event["__typename"] == "AssetCheckEvaluationEvent":
                check = event["evaluation"]
                if not check["success"]:
                    reasons.append(
                        f"check {check['checkName']}: {check['description'] or 'failed'}"
                    )
            elif event["__typename"] == "RunFailureEvent" and not reasons:
                reasons.append(event["message"])
        if not log["hasMore"]:
            return reasons
        cursor = log["cursor"]


def _state(answer: Mapping[str, Any]) -> dict[str, Any]:
    error = answer["error"]
    return {
        "status": answer["status"],
        "runs": tuple(_run(run) for run in answer["runs"]),
        "error": error["message"].strip() if error else None,
    }


def _run(run: Mapping[str, Any]) -> BackfillRun:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    first, last = (tags.get(name, tags.get(_PARTITION_TAG)) for name in _RANGE_TAGS)
    return BackfillRun(
        run_id=run["runId"],
        status=run["status"],
        assets=frozenset(_name(key) for key in run["assetSelection"] or []),
        days=frozenset(_days(first, last) if first and last else ()),
        materializations=(run["stats"] or {}).get("materializations", 0),
        is_retried=run["status"] == "FAILURE"
        and tags.get(_WILL_RETRY_TAG) == "true"
        and _RETRY_TAG not in tags,
    )


def _days(first: str, last: str) -> list[date]:
    return DayRange("UTC", parse_date(first), parse_date(last)).days


def _key(name: str) -> dict[str, list[str]]:
    return {"path": name.split("/")}


def _name(key: Mapping[str, Any]) -> str:
    return "/".join(key["path"])
