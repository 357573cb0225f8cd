"""What readers saw at an instant: versions from the publication history, rows from the lake.

Belongs here: finding the version in force, rebuilding its rows from the lake as it was, and proving
that they are that version's by its content hash. Does not belong here: how the answer is shown.

Nothing is guessed: rows whose hash is not the version's are not returned, and the answer says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from assets.compute import create_days, run_statement
from assets.ledger import ledger_session
from assets.statements import code_version, dataset_sql, movements_view
from metrics.calendar import DayRange, month_start, next_month, parse_date, week_start
from metrics.datasets import DAILY_METRICS, DATASETS, Dataset
from resources.lake import Lake, SnapshotExpiredError
from warehouse.publish import connect, data_version
from warehouse.statements import statement

_POLARS_TYPES: dict[str, type[pl.DataType]] = {
    "bigint": pl.Int64,
    "date": pl.Date,
    "text": pl.String,
}


class AsOfError(ValueError):
    """The question cannot be answered; the message says why and what can be asked."""


class Origin(StrEnum):
    """Where the rows of a past version come from."""

    PRESENT = "present"
    """Readers still see this version: its rows are those of the finished table."""
    REBUILT = "rebuilt"
    """Computed again from the lake as it was; the content hash is the version's."""
    UNKNOWN = "unknown"
    """They cannot be had any more; ``problem`` says why."""
    ABSENT = "absent"
    """The partition was not published at the instant."""


@dataclass(frozen=True)
class Then:
    """A partition as readers saw it at the instant.

    Attributes:
        version: columns of ``ops.publications`` of the version in force; None where absent.
        rows: as published, sorted by grain; None where they are unknown or absent.
        problem: why they are unknown; empty otherwise.
    """

    partition_key: str
    origin: Origin
    version: Mapping[str, Any] | None = None
    rows: pl.DataFrame | None = None
    problem: str = ""


def parse_instant(text: str) -> datetime:
    """Parse an ISO 8601 instant with a zone; raises ``AsOfError`` that says how to write it."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        problem = "is not an instant" if instant is None else "has no time zone"
        raise AsOfError(
            f"{text!r} {problem}; write 2026-03-02T09:00Z, or 2026-03-02T12:00+03:00 for local time"
        )
    return instant


def as_of(
    lake: Lake,
    warehouse_url: str,
    dataset_name: str,
    instant: datetime,
    time_zone: str,
    first: date | None = None,
    last: date | None = None,
) -> list[Then]:
    """What readers of a dataset saw at an instant, for each partition of a range of days.

    Args:
        warehouse_url: of a role that may read ``reporting`` and ``ops``.
        instant: aware.
        time_zone: the reporting time zone.
        first: first day of interest, None for the first published one; likewise ``last``.

    Raises:
        AsOfError: there is no such dataset, it keeps no history by partition, or no such range.
    """
    dataset = DATASETS.get(dataset_name)
    if dataset is None:
        raise AsOfError(f"there is no dataset {dataset_name!r}; there are {', '.join(DATASETS)}")
    if dataset.period == "all":
        raise AsOfError(
            f"{dataset.name} is summed over all days anew each time and shows the catalogue as it"
            " is; ask for daily_metrics or monthly_revenue, and for the event with --event"
        )
    if first is not None and last is not None and last < first:
        raise AsOfError(f"the range ends ({last}) before it starts ({first})")
    keys = _key_range(dataset, first, last)
    with connect(warehouse_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            known = connection.execute(
                statement("partition_keys"), {"dataset": dataset.name, **keys}
            ).fetchall()
            if not known:
                raise AsOfError(f"no partition of {dataset.name} in this range was ever published")
            found = connection.execute(
                statement("in_force"), {"dataset": dataset.name, "instant": instant, **keys}
            ).fetchall()
            versions = {row["partition_key"]: row for row in found}
            present = _present(connection, dataset, found)
            inputs = {
                key: _days_of(connection, dataset, key, version["input_version"])
                for key, version in versions.items()
                if key not in present and dataset.period != "day"
            }
            unchanged_days = {
                key: _present(connection, DAILY_METRICS, days) for key, days in inputs.items()
            }
    gone = [version for key, version in versions.items() if key not in present]
    if dataset.period == "day":
        rebuilt = _rebuild_days(lake, dataset, gone, time_zone)
    else:
        rebuilt = {
            key: _rebuild_rollup(
                lake, dataset, versions[key], inputs[key], unchanged_days[key], time_zone
            )
            for key in inputs
        }
    then = present | rebuilt
    return [
        then.get(row["partition_key"]) or Then(row["partition_key"], Origin.ABSENT) for row in known
    ]


def _key_range(dataset: Dataset, first: date | None, last: date | None) -> dict[str, str]:
    """The partitions that hold any of the days."""
    start = {"day": lambda day: day, "week": week_start, "month": month_start}[dataset.period]
    return {
        "first": start(first).isoformat() if first else date.min.isoformat(),
        "last": (last or date.max).isoformat(),
    }


def _present(
    connection: psycopg.Connection[dict[str, Any]],
    dataset: Dataset,
    versions: Sequence[Mapping[str, Any]],
) -> dict[str, Then]:
    """The versions that readers still see, by partition.

    Rows that somebody edited are not what was published: those are rebuilt from the lake.
    """
    present = {}
    for version in versions:
        if version["data_version"] == version["present_version"]:
            key = version["partition_key"]
            rows = _present_rows(connection, dataset, key)
            if data_version(dataset, rows) == version["data_version"]:
                present[key] = Then(key, Origin.PRESENT, version, rows)
    return present


def _present_rows(
    connection: psycopg.Connection[dict[str, Any]], dataset: Dataset, key: str
) -> pl.DataFrame:
    columns = sql.SQL(", ").join(map(sql.Identifier, dataset.column_names))
    grain = sql.SQL(", ").join(
        sql.SQL('{} COLLATE "C"' if column.type == "text" else "{}").format(
            sql.Identifier(column.name)
        )
        for column in dataset.grain
    )
    rows = connection.execute(
        sql.SQL("SELECT {} FROM {} WHERE {} = %s ORDER BY {}").format(
            columns,
            sql.Identifier("reporting", dataset.name),
            sql.Identifier(dataset.grain[0].name),
            grain,
        ),
        (key,),
    ).fetchall()
    return pl.DataFrame(rows, schema=_schema(dataset), orient="row")


def _schema(dataset: Dataset) -> dict[str, type[pl.DataType]]:
    dimensions = {c.name: _POLARS_TYPES[c.type] for c in (*dataset.grain, *dataset.attributes)}
    return dimensions | dict.fromkeys(dataset.metric_names, pl.Int64)


def _days_of(
    connection: psycopg.Connection[dict[str, Any]], dataset: Dataset, key: str, input_version: int
) -> list[dict[str, Any]]:
    """The versions of the days that a rollup was summed from."""
    first, last = _period(dataset, key)
    return connection.execute(
        statement("published_days"),
        {
            "daily": DAILY_METRICS.name,
            "input_version": input_version,
            "first": first.isoformat(),
            "last": last.isoformat(),
        },
    ).fetchall()


def _period(dataset: Dataset, key: str) -> tuple[date, date]:
    first = parse_date(key)
    if dataset.period == "week":
        return first, first + timedelta(days=6)
    if dataset.period == "month":
        return first, next_month(first) - timedelta(days=1)
    return first, first


def _rebuild_days(
    lake: Lake, dataset: Dataset, versions: Sequence[Mapping[str, Any]], time_zone: str
) -> dict[str, Then]:
    """Rebuild days, those of one lake snapshot in one session."""
    by_snapshot = sorted(versions, key=lambda row: (row["lake_snapshot"], row["partition_key"]))
    then: dict[str, Then] = {}
    for snapshot, group in groupby(by_snapshot, key=lambda row: int(row["lake_snapshot"])):
        of_snapshot = list(group)
        try:
            with ledger_session(lake, snapshot=snapshot) as connection:
                for run in _runs(of_snapshot):
                    first, last = (parse_date(run[n]["partition_key"]) for n in (0, -1))
                    connection.execute("DROP TABLE IF EXISTS days")
                    days = DayRange(time_zone, first, last)
                    create_days(connection, days)
                    rows = run_statement(connection, dataset, days).rows
                    day_of = pl.col(dataset.grain[0].name)
                    for version in run:
                        key = version["partition_key"]
                        of_day = rows.filter(day_of == parse_date(key))
                        then[key] = _proven(dataset, version, of_day)
        except SnapshotExpiredError as error:
            for version in of_snapshot:
                then[version["partition_key"]] = _unknown(version, str(error))
    return then


def _runs(versions: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Days that follow one another, together: all take a statement little longer than one."""
    runs: list[list[Mapping[str, Any]]] = []
    for version in versions:
        day = parse_date(version["partition_key"])
        if runs and parse_date(runs[-1][-1]["partition_key"]) == day - timedelta(days=1):
            runs[-1].append(version)
        else:
            runs.append([version])
    return runs


def _rebuild_rollup(
    lake: Lake,
    dataset: Dataset,
    version: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]],
    unchanged: Mapping[str, Then],
    time_zone: str,
) -> Then:
    """Rebuild the days a rollup was summed from where they have changed, then the rollup."""
    changed = [day for day in inputs if day["partition_key"] not in unchanged]
    days = {**unchanged, **_rebuild_days(lake, DAILY_METRICS, changed, time_zone)}
    lost = [day for day in days.values() if day.rows is None]
    if lost:
        return _unknown(
            version, f"day {lost[0].partition_key} it was summed from: {lost[0].problem}"
        )
    key = version["partition_key"]
    first, last = _period(dataset, key)
    frames = [day.rows for _, day in sorted(days.items()) if day.rows is not None]
    summed = pl.concat(frames) if frames else pl.DataFrame(schema=_schema(DAILY_METRICS))
    try:
        with ledger_session(lake, snapshot=int(version["lake_snapshot"])) as connection:
            connection.register("summed_days", summed)
            connection.execute(f"CREATE TEMP TABLE {DAILY_METRICS.name} AS FROM summed_days")
            rows = run_statement(connection, dataset, DayRange(time_zone, first, last)).rows
    except SnapshotExpiredError as error:
        return _unknown(version, str(error))
    return _proven(dataset, version, rows)


def _proven(dataset: Dataset, version: Mapping[str, Any], rows: pl.DataFrame) -> Then:
    """The rows, if their content hash is the version's."""
    if data_version(dataset, rows) == version["data_version"]:
        return Then(version["partition_key"], Origin.REBUILT, version, rows)
    present = code_version(movements_view(), dataset_sql(dataset))
    if version["code_version"] != present:
        why = (
            f"it was computed with definition {version['code_version']}, and the present one,"
            f" {present}, gives other rows"
        )
    else:
        why = (
            "the rows computed from lake snapshot"
            f" {version['lake_snapshot']} are not those that were published"
        )
    return _unknown(version, why)


def _unknown(version: Mapping[str, Any], problem: str) -> Then:
    return Then(version["partition_key"], Origin.UNKNOWN, version, None, problem)
