"""Export requests: queued jobs become runs, and jobs of lost runs are taken back.

Belongs here: when Dagster looks, and the runs it is asked for. Does not belong here: which job is
next or lost (``warehouse.export_queue``), or what a run does (``exports.attempt``).
"""

import time
from datetime import timedelta
from typing import Any

import dagster as dg
import psycopg

from resources.warehouse import Warehouse
from warehouse.export_jobs import get_job
from warehouse.export_queue import Queued, next_queued, reap, request_run
from warehouse.export_states import Job, State

EXPORT_REQUESTS = "export_requests"
EXPORT_REAPER = "export_reaper"
JOB_TAG = "boxoffice/export_job"
_PER_TICK = 20
_LISTENS = timedelta(seconds=20)
_LOOKS_EVERY_SECONDS = 0.25
_BEGIN_WITHIN = timedelta(minutes=15)


def build_export_requests(
    job_name: str, op_name: str, listens: timedelta = _LISTENS
) -> dg.SensorDefinition:
    """The sensor that asks for a run of each queued export.

    Dagster begins a tick every five seconds at best, so a tick does not end when the queue is
    empty: it goes on looking, and a job that comes meanwhile has its run at once.

    Args:
        op_name: op of the job whose config names the export.
        listens: how long a tick looks at an empty queue.
    """

    @dg.sensor(
        name=EXPORT_REQUESTS,
        job_name=job_name,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a run of each queued export; requesters take turns.",
    )
    def export_requests(warehouse: dg.ResourceParam[Warehouse]) -> dg.SensorResult | dg.SkipReason:
        with warehouse.connect() as connection:
            requests = [
                _run_request(get_job(connection, queued.job_id), queued, op_name)
                for queued in _wait_for_queued(connection, listens)
                # Noted first: a tick that dies in between is made good by the reaper.
                if request_run(connection, queued)
            ]
        if not requests:
            return dg.SkipReason("no export is waiting for a run")
        return dg.SensorResult(run_requests=requests)

    return export_requests


def build_export_reaper(
    max_attempts: int, retry_after: timedelta, begin_within: timedelta = _BEGIN_WITHIN
) -> dg.SensorDefinition:
    """The sensor that queues or fails exports whose run is gone.

    Args:
        max_attempts: attempts an export has.
        retry_after: how long it waits for the next one.
        begin_within: how long a requested run may take to begin.
    """

    @dg.sensor(
        name=EXPORT_REAPER,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Queues exports again whose run was lost, or fails them after the last try.",
    )
    def export_reaper(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.SkipReason:
        with warehouse.connect() as connection:
            reaped = reap(
                connection,
                max_attempts=max_attempts,
                retry_after=retry_after,
                begin_within=begin_within,
            )
        if not reaped:
            return dg.SkipReason("every export under way has its run")
        message = "; ".join(_what_became_of(job) for job in reaped)
        context.log.warning(message)
        return dg.SkipReason(message)

    return export_reaper


def _wait_for_queued(connection: psycopg.Connection[Any], listens: timedelta) -> list[Queued]:
    until = time.monotonic() + listens.total_seconds()
    while not (queued := next_queued(connection, _PER_TICK)) and time.monotonic() < until:
        time.sleep(_LOOKS_EVERY_SECONDS)
    return queued


def _run_request(job: Job, queued: Queued, op_name: str) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{queued.job_id}:{queued.attempt}",
        run_config={
            "ops": {op_name: {"config": {"job_id": str(queued.job_id), "attempt": queued.attempt}}}
        },
        tags={
            JOB_TAG: str(queued.job_id),
            "boxoffice/attempt": str(queued.attempt),
            "boxoffice/dataset": job.dataset,
            "boxoffice/format": job.format,
            "boxoffice/for": job.scope,
        },
    )


def _what_became_of(job: Job) -> str:
    if job.state is State.QUEUED:
        return f"export {job.job_id} lost attempt {job.attempt} and is queued again"
    return f"export {job.job_id} lost attempt {job.attempt} and is {job.state}"
