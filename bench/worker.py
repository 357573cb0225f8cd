"""The programs that are measured, each a process of its own: ``python -m bench.worker TASK ...``.

Belongs here: the pipeline through Dagster and without it, and the questions asked of the lake.
Does not belong here: measuring, servers (``bench.measure``, ``bench.platform``).

What is timed under one name is the same function call with and without Dagster.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

BEGAN = time.time()

import dagster as dg  # noqa: E402

import assets.daily_metrics  # noqa: E402
import assets.movements  # noqa: E402
import assets.publishing  # noqa: E402
import assets.raw  # noqa: E402
import assets.revenue  # noqa: E402
from assets import compute, ledger  # noqa: E402
from assets.statements import MOVEMENTS, dataset_sql, movements_view  # noqa: E402
from bench.measure import Stages, write_report  # noqa: E402
from metrics.calendar import (  # noqa: E402
    DayRange,
    day_bounds,
    month_start,
    next_month,
    parse_date,
    week_start,
)
from metrics.datasets import (  # noqa: E402
    DAILY_METRICS,
    DAILY_PAYMENTS,
    DAILY_TICKET_TYPES,
    MONTHLY_REVENUE,
    WEEKLY_REVENUE,
    Dataset,
)
from pipelines.definitions import build_defs, build_resources  # noqa: E402
from pipelines.jobs import REFRESH_DAYS, ROLL_UP_MONTHS, ROLL_UP_WEEKS  # noqa: E402
from pipelines.settings import Settings, get_settings  # noqa: E402
from resources.extraction import Extraction, extract  # noqa: E402
from resources.lake import Lake  # noqa: E402
from resources.source import Source  # noqa: E402
from resources.source_contract import DAILY_FACTS  # noqa: E402
from warehouse.extractions import (  # noqa: E402
    record_extraction,
)
from warehouse.publish import (  # noqa: E402
    Provenance,
    connect,
    next_attempt,
    publish,
)

DAILY = (DAILY_METRICS, DAILY_PAYMENTS, DAILY_TICKET_TYPES)
_QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def chunks(days: DayRange, size: int) -> Iterator[DayRange]:
    """Cut a range into ranges of at most ``size`` days, as a backfill's runs are."""
    every = days.days
    for start in range(0, len(every), size):
        part = every[start : start + size]
        yield DayRange(days.time_zone, part[0], part[-1])


def periods(dataset: Dataset, days: DayRange) -> list[date]:
    """First days of the weeks or months that the range touches."""
    start = week_start if dataset.period == "week" else month_start
    return sorted({start(day) for day in days.days})


class Bare:
    """The pipeline's own functions, called one after another without Dagster."""

    def __init__(self, settings: Settings, stages: Stages) -> None:
        """Take the lake, source and warehouse of the settings."""
        resources = build_resources(settings)
        lake, source = resources["lake"], resources["source"]
        if not isinstance(lake, Lake) or not isinstance(source, Source):
            raise TypeError("the settings make another lake or source")
        self.lake, self.source = lake, source
        self.warehouse_url = settings.warehouse_url.get_secret_value()
        self.stages = stages

    def extract(self, days: DayRange, token: str) -> int:
        """Extract the days; returns the rows of all facts."""
        with self.stages.stage("extract"):
            extraction = extract(self.lake, self.source, days, DAILY_FACTS, token)
        with self.stages.stage("record extraction"), connect(self.warehouse_url) as connection:
            record_extraction(connection, extraction.records(token))
        return _row_count(extraction)

    def days(self, days: DayRange, token: str) -> int:
        """Extract, verify, compute and publish days; returns the rows extracted."""
        rows = self.extract(days, token)
        self.daily(days, token)
        return rows

    def daily(self, days: DayRange, token: str) -> None:
        """Verify the ledger's days; compute and publish their datasets."""
        with self.stages.stage("movements"):
            ledger.read_ledger(self.lake, days)
        for dataset in DAILY:
            with connect(self.warehouse_url) as connection:
                attempt = next_attempt(connection)
                with self.stages.stage("daily: compute"):
                    computed = compute.compute_days(self.lake, dataset, days)
                keys = [day.isoformat() for day in days.days]
                with self.stages.stage("daily: publish"):
                    parts = assets.daily_metrics.split(computed.rows, dataset, keys)
                    for key, part in parts.items():
                        watermark = computed.watermarks.get(parse_date(key))
                        end = day_bounds(days.time_zone, parse_date(key))[1]
                        provenance = Provenance(
                            run_id=token,
                            attempt=attempt,
                            input_version=computed.lake_snapshot,
                            lake_snapshot=computed.lake_snapshot,
                            code_version="bench",
                            source_watermark=watermark,
                            is_complete=watermark is not None and watermark >= end,
                        )
                        publish(connection, dataset, key, part, provenance)

    def roll_up(self, dataset: Dataset, days: DayRange, token: str) -> None:
        """Compute and publish the weeks or months that the range touches."""
        starts = periods(dataset, days)
        last = starts[-1]
        after = last + timedelta(days=7) if dataset.period == "week" else next_month(last)
        whole = DayRange(days.time_zone, starts[0], after - timedelta(days=1))
        with connect(self.warehouse_url) as connection:
            attempt = next_attempt(connection)
            with self.stages.stage(f"{dataset.period}ly: compute"):
                computed = compute.compute_rollup(self.lake, self.warehouse_url, dataset, whole)
            newest = max(day.publication_id for day in computed.days)
            with self.stages.stage(f"{dataset.period}ly: publish"):
                keys = [start.isoformat() for start in starts]
                for key, part in assets.daily_metrics.split(computed.rows, dataset, keys).items():
                    provenance = Provenance(
                        run_id=token,
                        attempt=attempt,
                        input_version=newest,
                        lake_snapshot=computed.lake_snapshot,
                        code_version="bench",
                        source_watermark=None,
                        is_complete=False,
                    )
                    publish(connection, dataset, key, part, provenance)


def _row_count(extraction: Extraction) -> int:
    return sum(day.row_count for by_day in extraction.days.values() for day in by_day.values())


def run_bare(settings: Settings, stages: Stages, days: DayRange) -> dict[str, Any]:
    """The whole flow without Dagster, in the same chunks of days."""
    bare = Bare(settings, stages)
    rows = 0
    for part in chunks(days, settings.days_per_run):
        rows += bare.days(part, f"bare-{part.first}")
    for dataset in (WEEKLY_REVENUE, MONTHLY_REVENUE):
        bare.roll_up(dataset, days, f"bare-{dataset.name}")
    return {"rows": rows}


def run_extract(settings: Settings, stages: Stages, days: DayRange) -> dict[str, Any]:
    """Extraction alone."""
    bare = Bare(settings, stages)
    parts = chunks(days, settings.days_per_run)
    return {"rows": sum(bare.extract(part, f"extract-{part.first}") for part in parts)}


def _replace(module: ModuleType, name: str, value: object) -> None:
    setattr(module, name, value)


def _observe(stages: Stages) -> list[int]:
    """Time what the assets do by the names ``Bare`` uses; returns where row counts are put."""
    rows: list[int] = []

    def counted(*arguments: Any, **named: Any) -> Extraction:
        extraction = extract(*arguments, **named)
        rows.append(_row_count(extraction))
        return extraction

    _replace(assets.raw, "extract", counted)
    stages.wrap(assets.raw, "extract", "extract")
    stages.wrap(assets.raw, "record_extraction", "record extraction")
    stages.wrap(assets.movements, "read_ledger", "movements")
    stages.wrap(assets.daily_metrics, "compute_days", "daily: compute")
    stages.wrap(
        assets.revenue, "compute_rollup", lambda _lake, _url, d, _days: f"{d.period}ly: compute"
    )
    stages.wrap(
        assets.publishing,
        "publish",
        lambda _connection, d, *_: f"{'dai' if d.period == 'day' else d.period}ly: publish",
    )
    return rows


def _execute(
    settings: Settings,
    stages: Stages,
    jobs: Sequence[tuple[str, date, date]],
    selection: Sequence[str] | None = None,
) -> None:
    """Run jobs over ranges of partitions one after another, as ``pipelines.history`` does.

    Raises:
        RuntimeError: a run failed.
    """
    with stages.stage("definitions"):
        definitions = build_defs(settings)
        definitions.resolve_all_job_defs()
    with dg.DagsterInstance.get() as instance:
        for job, first, last in jobs:
            result = definitions.resolve_job_def(job).execute_in_process(
                instance=instance,
                tags={
                    "dagster/asset_partition_range_start": first.isoformat(),
                    "dagster/asset_partition_range_end": last.isoformat(),
                },
                run_config=_QUIET,
                asset_selection=[dg.AssetKey(name) for name in selection] if selection else None,
            )
            if not result.success:
                raise RuntimeError(f"{job} of {first} to {last} failed")


def run_dagster(settings: Settings, stages: Stages, days: DayRange) -> dict[str, Any]:
    """The whole flow as Dagster runs of ranges of partitions."""
    rows = _observe(stages)
    jobs = [(REFRESH_DAYS, part.first, part.last) for part in chunks(days, settings.days_per_run)]
    for job, dataset in ((ROLL_UP_WEEKS, WEEKLY_REVENUE), (ROLL_UP_MONTHS, MONTHLY_REVENUE)):
        starts = periods(dataset, days)
        jobs.append((job, starts[0], starts[-1]))
    _execute(settings, stages, jobs)
    return {"rows": sum(rows)}


def run_recompute(settings: Settings, stages: Stages, days: DayRange) -> dict[str, Any]:
    """A metric was changed: the ledger and the daily datasets anew, through Dagster.

    ``buyers`` counts double, so every day's content is new and is published; a metric that is a
    sum would be held back, because it no longer is the source's.
    """
    _observe(stages)

    def changed(dataset: Dataset) -> str:
        return dataset_sql(dataset).replace("count(DISTINCT", "2 * count(DISTINCT")

    _replace(compute, "dataset_sql", changed)
    jobs = [(REFRESH_DAYS, part.first, part.last) for part in chunks(days, settings.days_per_run)]
    _execute(settings, stages, jobs, [MOVEMENTS, *(dataset.name for dataset in DAILY)])
    return {}


def run_single_days(settings: Settings, stages: Stages, days: DayRange) -> dict[str, Any]:
    """Days far apart, each extracted, computed and published by itself."""
    every = days.days
    found = []
    for number, day in enumerate(every[:: max(1, len(every) // 8)][1:8]):
        own = Stages()
        bare = Bare(settings, own)
        began = time.time()
        with stages.stage("day"):
            rows = bare.days(DayRange(days.time_zone, day, day), f"single-{number}-{time.time()}")
        seconds: dict[str, float] = {}
        for name, start, end in own.intervals:
            seconds[name] = seconds.get(name, 0.0) + end - start
        found.append(
            {
                "day": day.isoformat(),
                "rows": rows,
                "seconds": time.time() - began,
                "stages": seconds,
            }
        )
    return {"days": found}


def run_ledger(settings: Settings, stages: Stages, days: DayRange) -> dict[str, Any]:
    """The ledger as a view and stored: what storing costs, and computing from either."""
    bare = Bare(settings, stages)
    parts = list(chunks(days, settings.days_per_run))
    with bare.lake.session() as connection:
        connection.execute(f"CREATE TEMP VIEW {MOVEMENTS} AS {movements_view()}")
        connection.execute("CREATE TABLE lake.movements_stored AS FROM movements LIMIT 0")
        for part in parts:
            path = f"{bare.lake.data_path}movements_stored/{part.first}.parquet"
            with stages.stage("store"):
                connection.execute(
                    f"COPY (FROM movements WHERE business_date BETWEEN DATE '{part.first}'"
                    f" AND DATE '{part.last}') TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
                )
                connection.execute(
                    f"CALL ducklake_add_data_files('lake', 'movements_stored', '{path}')"
                )
        sizes = connection.execute(
            "SELECT table_name, file_count, file_size_bytes FROM ducklake_table_info('lake')"
        ).fetchall()
        rows = connection.execute("SELECT count(*) FROM lake.movements_stored").fetchone()
    figures: dict[str, dict[str, list[list[Any]]]] = {}
    ledgers = {"view": movements_view, "stored": lambda: "FROM lake.movements_stored"}
    for name, statement in ledgers.items():
        _replace(ledger, "movements_view", statement)
        for part in parts:
            with stages.stage(f"{name}: movements"):
                ledger.read_ledger(bare.lake, part)
            for dataset in DAILY:
                with stages.stage(f"{name}: {dataset.name}"):
                    computed = compute.compute_days(bare.lake, dataset, part)
                hashes = figures.setdefault(dataset.name, {}).setdefault(name, [])
                hashes.append([computed.rows.height, computed.rows.hash_rows().sum()])
    for dataset_name, by_name in figures.items():
        if by_name["view"] != by_name["stored"]:
            raise RuntimeError(f"{dataset_name} differs between the view and the stored ledger")
    return {
        "movements": rows[0] if rows else 0,
        "tables": {name: {"files": files, "bytes": size} for name, files, size in sizes},
    }


TASKS = {
    "dagster": run_dagster,
    "bare": run_bare,
    "extract": run_extract,
    "recompute": run_recompute,
    "single-days": run_single_days,
    "ledger": run_ledger,
}


def main(task: str, first: str, last: str, report: str) -> None:
    """Run a task over days and report to the measuring process."""
    settings = get_settings()
    stages = Stages()
    days = DayRange(settings.time_zone, parse_date(first), parse_date(last))
    began = time.time()
    stages.intervals.append(("import", BEGAN, began))
    result = TASKS[task](settings, stages, days)
    write_report(Path(report), BEGAN, stages, json.loads(json.dumps(result, default=str)))


if __name__ == "__main__":
    main(*sys.argv[1:])
