"""How long an export takes from being asked for to its file, and where the time goes.

Against a running `boxoffice up`, with its variables:

    set -a; . .boxoffice/env; set +a
    python -m bench.export_latency

Belongs here: asking for exports one after the other, at moments that no clock of the stack knows,
and the steps as the job's history and Dagster's event log have them. Limits: p50 6 s, p95 12 s.
"""

from __future__ import annotations

import random
import statistics
import time
from argparse import ArgumentParser
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from exports.masking import Requester, Role
from exports.submission import checked
from pipelines.settings import Settings, get_settings
from warehouse.export_jobs import create_job, get_job
from warehouse.export_states import State
from warehouse.publish import connect

STEPS = {
    "asked for -> run requested (sensor)": ("create", "request_run"),
    "-> run queued (daemon)": ("request_run", "PIPELINE_ENQUEUED"),
    "-> run launched (run coordinator)": ("PIPELINE_ENQUEUED", "PIPELINE_STARTING"),
    "-> run worker works (process, imports)": ("PIPELINE_STARTING", "PIPELINE_START"),
    "-> lease taken (step begins)": ("PIPELINE_START", "start"),
    "-> file ready (rows, file, upload)": ("start", "finish"),
}


def main() -> None:
    """Ask, wait, print."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--rows", type=int, default=10_000, help="Rows of each file.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    settings, chance = get_settings(), random.Random(options.seed)  # noqa: S311 - moments
    measured: dict[str, list[float]] = {name: [] for name in (*STEPS, "total")}
    with connect(settings.warehouse_url.get_secret_value()) as connection:
        filters = {"completed": _days(connection, settings, options.rows)}
        for number in range(options.jobs):
            time.sleep(chance.uniform(0, 10))
            # Another order of events each time makes a request like no other: nothing is shared.
            filters["completed"]["last"] = f"{2100 + number // 12}-{number % 12 + 1:02}-01"
            at = _timeline(connection, settings, filters)
            for name, (begin, end) in STEPS.items():
                measured[name].append(at[end] - at[begin])
            measured["total"].append(at["finish"] - at["create"])
            print(f"{number + 1:>3}  {measured['total'][-1]:5.2f} s", flush=True)
    print(f"\n{'step':<42}{'p50':>7}{'p95':>7}{'max':>7}")
    for name, values in measured.items():
        cuts = statistics.quantiles(values, n=20, method="inclusive")
        print(f"{name:<42}{statistics.median(values):7.2f}{cuts[-1]:7.2f}{max(values):7.2f}")


def _days(connection: psycopg.Connection[Any], settings: Settings, rows: int) -> dict[str, str]:
    """The newest days with about so many orders."""
    found = connection.execute(
        """SELECT business_date FROM (
            SELECT business_date, sum(sum(orders)) OVER (ORDER BY business_date DESC) AS total
            FROM reporting.daily_metrics GROUP BY business_date) AS d
        WHERE total >= %s ORDER BY business_date DESC LIMIT 1""",
        (rows,),
    ).fetchone()
    if found is None:
        raise SystemExit(f"fewer than {rows:,} orders are published")
    return {"first": found["business_date"].isoformat()}


def _timeline(
    connection: psycopg.Connection[Any], settings: Settings, filters: dict[str, Any]
) -> dict[str, float]:
    """When each step of one export ended, in seconds since 1970."""
    request = checked(connection, "bench", Requester(role=Role.ADMIN), "orders", filters=filters)
    job, _ = create_job(connection, request, uuid4().hex)
    while job.state in (State.QUEUED, State.RUNNING):
        time.sleep(0.05)
        job = get_job(connection, job.job_id)
    if job.state is not State.SUCCEEDED:
        raise SystemExit(f"export {job.job_id} is {job.state}: {job.error}")
    events = connection.execute(
        """SELECT transition, extract(epoch FROM happened_at)::float8 AS at, run_id
        FROM ops.export_job_events WHERE job_id = %s ORDER BY event_id""",
        (job.job_id,),
    ).fetchall()
    at = {event["transition"]: event["at"] for event in events}
    return at | _run_events(settings, job.job_id)


def _run_events(settings: Settings, job_id: UUID) -> dict[str, float]:
    url = settings.dagster_url.get_secret_value().replace("+psycopg2", "")
    with psycopg.connect(url, row_factory=dict_row) as dagster:
        rows = dagster.execute(
            """SELECT e.dagster_event_type AS kind,
                   min(extract(epoch FROM e.timestamp))::float8 AS at
            FROM event_logs AS e JOIN run_tags AS t ON t.run_id = e.run_id
            WHERE t.key = 'boxoffice/export_job' AND t.value = %s
              AND e.dagster_event_type IS NOT NULL
            GROUP BY 1""",
            (str(job_id),),
        ).fetchall()
    return {row["kind"]: row["at"] for row in rows}


if __name__ == "__main__":
    main()
