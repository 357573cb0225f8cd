"""The commands of ``boxoffice export recurring``: exports that are made again and again.

Belongs here: how an operator makes and sees them, and takes an account's right to own them away.
Does not belong here: when they are due (``exports.recurrence``) or what makes their jobs
(``sensors.recurring_exports``). Modules that take long to import are imported inside the commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from pipelines.console import fail, load_settings
from pipelines.export_commands import (
    Columns,
    Dataset,
    Filters,
    Format,
    Options,
    account,
    parse_json,
    warehouse,
)

if TYPE_CHECKING:
    from warehouse.export_schedules import Policy, Schedule

app = typer.Typer(help="Exports that are made whenever they are due.", no_args_is_help=True)

_Key = Annotated[UUID, typer.Argument(metavar="ID", help="As `boxoffice export recurring list`.")]
_Account = Annotated[str, typer.Argument(help="As `boxoffice export recurring list` names it.")]


@app.command()
def add(
    dataset: Dataset,
    cron: Annotated[
        str | None, typer.Option(help="""When: a cron expression, for example '0 6 * * 1'.""")
    ] = None,
    rrule: Annotated[
        str | None, typer.Option(help="When: DTSTART and RRULE (RFC 5545), each on its line.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Whose clock that is; the reporting time zone if not given.")
    ] = None,
    format_name: Format = "csv",
    filters: Filters = None,
    columns: Columns = None,
    options: Options = None,
) -> None:
    """Make a recurring export. Filters may say '{"days": {"relative": "last_month"}}'."""
    from exports.masking import Requester, Role
    from exports.recurrence import Recurrence
    from warehouse.export_rights import remember_right
    from warehouse.export_schedules import create_schedule

    if (cron is None) == (rrule is None):
        raise fail("give --cron or --rrule, one of them")
    settings = load_settings()
    with warehouse() as connection:
        recurrence = Recurrence(
            "cron" if cron is not None else "rrule",
            cron if cron is not None else str(rrule),
            time_zone or settings.time_zone,
        )
        remember_right(connection, account(), Role.ADMIN, None)
        _show(
            create_schedule(
                connection,
                _policy(),
                account(),
                Requester(role=Role.ADMIN),
                recurrence,
                dataset,
                filters=parse_json("--filters", filters),
                columns=columns.split(",") if columns is not None else None,
                format_name=format_name,
                options=parse_json("--options", options),
            )
        )


@app.command("list")
def list_all() -> None:
    """Every recurring export of every account, the next due first."""
    from warehouse.export_schedules import list_every_schedule

    with warehouse() as connection:
        schedules = list_every_schedule(connection)
    for schedule in schedules:
        _show(schedule)
    if not schedules:
        typer.echo("There are no recurring exports.")


@app.command()
def pause(schedule_id: _Key) -> None:
    """Make no jobs until it is resumed."""
    from warehouse.export_schedules import pause_schedule

    with warehouse() as connection:
        _show(pause_schedule(connection, schedule_id, reason=f"paused by {account()}"))


@app.command()
def resume(schedule_id: _Key) -> None:
    """Make jobs again, from its next time on."""
    from warehouse.export_schedules import resume_schedule

    with warehouse() as connection:
        _show(resume_schedule(connection, _policy(), schedule_id))


@app.command()
def end(schedule_id: _Key) -> None:
    """Remove it; its files stay as long as any."""
    from warehouse.export_schedules import end_schedule

    with warehouse() as connection:
        end_schedule(connection, schedule_id)
    typer.echo(f"{schedule_id} is ended")


@app.command()
def revoke(
    owner: _Account, reason: Annotated[str, typer.Option(help="Why, for the owner to read.")]
) -> None:
    """Take an account's right away: what it owns is paused when it is due next."""
    from warehouse.export_rights import revoke_right

    with warehouse() as connection:
        revoke_right(connection, owner, reason)
    typer.echo(f"{owner} may own no recurring exports")


@app.command()
def restore(owner: _Account) -> None:
    """Give the right back; what was paused stays so until it is resumed."""
    from warehouse.export_rights import restore_right

    with warehouse() as connection:
        restore_right(connection, owner)
    typer.echo(f"{owner} may own recurring exports again")


def _policy() -> Policy:
    from warehouse.export_schedules import Policy

    return Policy(time_zone=load_settings().time_zone)


def _show(schedule: Schedule) -> None:
    due = f"{schedule.next_due_at:%Y-%m-%d %H:%M%z}" if schedule.next_due_at else "never again"
    whose = (
        schedule.owner
        if schedule.organizer_id is None
        else f"{schedule.owner} (organizer {schedule.organizer_id})"
    )
    typer.echo(f"{schedule.schedule_id}  {schedule.dataset} as {schedule.format} for {whose}")
    typer.echo(f"  {schedule.recurrence!r} in {schedule.time_zone}; next due {due}")
    if schedule.pause_reason:
        typer.secho(f"  paused: {schedule.pause_reason}", fg=typer.colors.YELLOW)
