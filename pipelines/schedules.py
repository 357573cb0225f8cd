"""The schedules: when things run by the clock.

Belongs here: schedules and the tags of what they launch. Does not belong here: what runs
(``pipelines.jobs``) or what is set in motion by something that happened (``sensors``).
"""

from datetime import timedelta

import dagster as dg

from metrics.calendar import business_date
from pipelines.jobs import (
    CLEAN_EXPORTS,
    FINGERPRINT_DAYS,
    LIVE_PRIORITY,
    PROVE,
    REFRESH_DAYS,
    TIDY_LAKE,
)

_CLEAN_EXPORTS_CRON = "35 * * * *"
_FINALIZE_CRON = "20 0 * * *"
_FINGERPRINT_CRON = "50 1 * * *"
_TIDY_CRON = "40 3 * * *"
_PROVE_CRON = "30 5 * * *"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def build_schedules(time_zone: str, refresh_cron: str) -> list[dg.ScheduleDefinition]:
    """Refresh today through the day, and finalize yesterday after midnight."""

    @dg.schedule(
        name="refresh_today",
        job_name=REFRESH_DAYS,
        cron_schedule=refresh_cron,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Publish the reporting day in progress anew.",
    )
    def refresh_today(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        today = business_date(time_zone, context.scheduled_execution_time).isoformat()
        running = context.instance.get_run_records(
            dg.RunsFilter(
                job_name=REFRESH_DAYS,
                tags={"dagster/partition": today},
                statuses=_UNFINISHED,
            ),
            limit=1,
        )
        if running:
            return dg.SkipReason(f"run {running[0].dagster_run.run_id} of {today} is unfinished")
        return dg.RunRequest(partition_key=today, tags=LIVE_PRIORITY)

    @dg.schedule(
        name="finalize_yesterday",
        job_name=REFRESH_DAYS,
        cron_schedule=_FINALIZE_CRON,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Publish the reporting day that has ended, now complete.",
    )
    def finalize_yesterday(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = business_date(time_zone, context.scheduled_execution_time)
        return dg.RunRequest(
            partition_key=(today - timedelta(days=1)).isoformat(), tags=LIVE_PRIORITY
        )

    fingerprint = dg.ScheduleDefinition(
        name="fingerprint_days_nightly",
        job_name=FINGERPRINT_DAYS,
        cron_schedule=_FINGERPRINT_CRON,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Find days whose rows were deleted or edited without a trace.",
    )
    tidy = dg.ScheduleDefinition(
        name="tidy_lake_nightly",
        job_name=TIDY_LAKE,
        cron_schedule=_TIDY_CRON,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Housekeeping of the lake, while little is sold.",
    )
    prove = dg.ScheduleDefinition(
        name="prove_nightly",
        job_name=PROVE,
        cron_schedule=_PROVE_CRON,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The scoreboard: after the night's runs and housekeeping.",
    )
    clean_exports = dg.ScheduleDefinition(
        name="clean_exports_hourly",
        job_name=CLEAN_EXPORTS,
        cron_schedule=_CLEAN_EXPORTS_CRON,
        execution_timezone=time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Delete exported files whose time is up.",
    )
    return [refresh_today, finalize_yesterday, fingerprint, tidy, prove, clean_exports]
