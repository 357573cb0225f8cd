"""The command line: ``boxoffice``.

Belongs here: commands, their options and how errors are shown. Does not belong here: the work;
modules that take long to import are imported inside the command that needs them.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer(
    name="boxoffice",
    help="Turns a ticketing platform's operational database into numbers people can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def fail(message: object) -> typer.Exit:
    """Print what is wrong on standard error; raise what this returns."""
    typer.secho(f"Error: {message}", err=True, fg=typer.colors.RED)
    return typer.Exit(1)


@app.command()
def up(
    orders: Annotated[
        int | None,
        typer.Option(
            min=1_000,
            max=100_000_000,
            envvar="BOXOFFICE_ORDERS",
            help="Orders of the sample platform, when it is made (200 thousand).",
        ),
    ] = None,
    sample: Annotated[
        bool, typer.Option(help="Fill an empty embedded source with a sample platform.")
    ] = True,
    history: Annotated[
        bool, typer.Option(help="Materialize the days that are missing before serving.")
    ] = True,
    once: Annotated[
        bool, typer.Option("--once", help="Bring everything up, check it, stop it, exit.")
    ] = False,
) -> None:
    """Start everything here: servers, sample platform, full history, Dagster. Ctrl-C stops it."""
    from local import up as local_up
    from local.environment import AlreadyRunningError
    from local.servers import ServerError

    try:
        local_up.up(local_up.UpOptions(orders=orders, sample=sample, history=history, once=once))
    except (AlreadyRunningError, ServerError, local_up.UpError) as error:
        raise fail(error) from None


@app.command()
def down() -> None:
    """Stop a running `boxoffice up` and whatever a killed one left behind."""
    from local import up as local_up
    from local.environment import AlreadyRunningError

    try:
        local_up.down()
    except (AlreadyRunningError, local_up.UpError) as error:
        raise fail(error) from None


@app.command()
def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop everything and delete the local state: databases, objects, logs, passwords."""
    from local import up as local_up
    from local.environment import AlreadyRunningError
    from pipelines.settings import STATE_DIRECTORY

    if not yes:
        typer.confirm(f"Delete {STATE_DIRECTORY} with all local data?", abort=True)
    try:
        local_up.clean()
    except (AlreadyRunningError, local_up.UpError) as error:
        raise fail(error) from None


if __name__ == "__main__":
    sys.exit(app())
