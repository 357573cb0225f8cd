"""Recurring exports: those that are due make a job.

Belongs here: the sensor, what its tick shows, and that one recurring export which cannot be
evaluated holds up no other. Does not belong here: what a recurring export is
(``warehouse.export_schedules``), or runs: a job gets one like any other job.

What is shown has no reasons and no filters in it: these may name people.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

import dagster as dg
import psycopg

from resources.warehouse import Warehouse
from warehouse.export_schedules import Firing, Policy, Schedule, due, fire, settle

RECURRING_EXPORTS = "recurring_exports"


class EvaluationError(RuntimeError):
    """Some recurring exports could not be evaluated; all others were."""


def build_recurring_exports(policy: Policy, per_tick: int = 50) -> dg.SensorDefinition:
    """The sensor that makes the jobs of recurring exports.

    Args:
        per_tick: recurring exports a tick evaluates at most; the others come in the next.
    """

    @dg.sensor(
        name=RECURRING_EXPORTS,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Makes the jobs of recurring exports that are due, and pauses those whose jobs"
        " keep failing.",
    )
    def recurring_exports(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.SkipReason:
        with warehouse.connect() as connection:
            failing = settle(connection, policy.max_failures)
            waiting = due(connection, per_tick)
            firings, errors = _fire(connection, policy, waiting)
        message = describe(failing, firings, more=len(waiting) == per_tick)
        if failing or firings:
            context.log.info(message)
        if errors:
            named = "; ".join(f"{key}: {error}" for key, error in errors.items())
            raise EvaluationError(f"{message}; could not be evaluated: {named}")
        return dg.SkipReason(message)

    return recurring_exports


def describe(failing: Sequence[Schedule], firings: Sequence[Firing], *, more: bool) -> str:
    """What a tick did, for the Dagster UI."""
    return "; ".join(_sentences(failing, firings, more)) or "no recurring export was due"


def _sentences(failing: Sequence[Schedule], firings: Sequence[Firing], more: bool) -> Iterator[str]:
    if made := [firing for firing in firings if firing.job is not None]:
        yield f"made {_count(len(made), 'job')}"
    for firing in made:
        if firing.job is not None and firing.missed:
            times = _count(firing.missed, "time")
            yield f"job {firing.job.job_id} also stands for {times} that it was due before"
    if refused := [firing.schedule for firing in firings if firing.job is None]:
        yield f"paused, because request or right do not hold any more: {_keys(refused)}"
    if failing:
        yield f"paused, because their jobs failed: {_keys(failing)}"
    if more:
        yield "others that may be due come in the next tick"


def _fire(
    connection: psycopg.Connection[dict[str, object]], policy: Policy, waiting: Sequence[Schedule]
) -> tuple[list[Firing], Mapping[UUID, str]]:
    """What came of each, and what went wrong with which."""
    firings, errors = [], {}
    for schedule in waiting:
        try:
            firing = fire(connection, policy, schedule.schedule_id)
        except Exception as error:
            if connection.closed:
                raise
            errors[schedule.schedule_id] = _without_values(error)
        else:
            firings += [firing] if firing else []
    return firings, errors


def _without_values(error: Exception) -> str:
    """What went wrong and where; a message of Postgres may quote a whole row."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    told = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    told = f" ({told})" if told else ""
    return f"{type(error).__name__}{told} in {frame.name}, line {frame.lineno}"


def _keys(schedules: Sequence[Schedule]) -> str:
    return ", ".join(str(schedule.schedule_id) for schedule in schedules)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
