"""The command line: ``boxoffice``.

Belongs here: commands, their options and how errors are shown. Does not belong here: the work;
modules that take long to import are imported inside the command that needs them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import export_commands, inspection, recurring_commands, serving
from pipelines.console import fail, load_settings

if TYPE_CHECKING:
    from pipelines.settings import Settings

app = typer.Typer(
    name="boxoffice",
    help="Turns a ticketing platform's operational database into numbers people can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

source_app = typer.Typer(help="The ticketing platform that is read.", no_args_is_help=True)
app.add_typer(source_app, name="source")
export_commands.app.add_typer(recurring_commands.app, name="recurring")
app.add_typer(export_commands.app, name="export")


def source_owner_url(settings: Settings) -> str:
    """URL of the source's owner, or an error that says how to give it."""
    if settings.source_owner_url is None:
        raise fail(
            "BOXOFFICE_SOURCE_OWNER_URL is not set; this command writes to the source database,"
            " which is the embedded one or one you own"
        )
    return settings.source_owner_url.get_secret_value()


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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


@app.command("import")
def import_csv(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Holds organizers.csv, events.csv and orders.csv; ticket_types.csv, tickets.csv,"
            " payments.csv and refunds.csv if there are any.",
        ),
    ],
    time_zone: Annotated[
        str | None,
        typer.Option(help="Zone of local times whose row, event and organizer name none."),
    ] = None,
    allow_refused: Annotated[
        bool, typer.Option("--allow-refused", help="Load the rows that passed nevertheless.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete all rows of the source tables first.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Where refused rows are written (.boxoffice/import-refused.csv)."),
    ] = None,
) -> None:
    """Load CSV files into the source tables; every refused row is named. See docs/adopting.md."""
    import psycopg

    from local.progress import Reporter
    from local.ticketing.import_summary import summary
    from local.ticketing.importer import ImportFailedError, import_folder
    from pipelines.settings import STATE_DIRECTORY

    settings = load_settings()
    owner_url = source_owner_url(settings)
    report_path = report or STATE_DIRECTORY / "import-refused.csv"
    reporter = Reporter()
    if replace:
        reporter.say("--replace: all rows of the source tables are deleted before loading.")
    try:
        with reporter.step(f"Importing {folder}") as step:
            result = import_folder(
                owner_url,
                folder,
                report_path,
                time_zone=time_zone,
                allow_refused=allow_refused,
                replace=replace,
                progress=step.progress,
            )
            if not result.is_loaded:
                step.detail = "checked: rows are refused, nothing is loaded"
    except (ImportFailedError, OSError, psycopg.Error) as error:
        raise fail(f"{error}\nNothing was loaded or changed.") from None
    for line in summary(result, report_path, settings.time_zone):
        reporter.say(line)
    if result.refused and not allow_refused:
        raise typer.Exit(1)


@app.command()
def backfill(
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="First reporting day, YYYY-MM-DD.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="Last reporting day, YYYY-MM-DD.")
    ] = None,
    metrics_only: Annotated[
        bool,
        typer.Option("--metrics-only", help="Recompute from the lake, do not read the source."),
    ] = False,
    retry: Annotated[
        str | None,
        typer.Option(metavar="BACKFILL_ID", help="Run the days again that it did not publish."),
    ] = None,
    follow: Annotated[
        str | None, typer.Option(metavar="BACKFILL_ID", help="Only wait until it has ended.")
    ] = None,
    cancel: Annotated[
        str | None, typer.Option(metavar="BACKFILL_ID", help="Stop it; published days stay.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it has ended.")] = True,
) -> None:
    """Publish a range of days anew, through the running Dagster, in bounded runs."""
    from local.progress import Reporter
    from pipelines import backfill as backfills
    from pipelines.webserver import Webserver, WebserverError

    ranged = first is not None or last is not None or metrics_only
    if sum([ranged, retry is not None, follow is not None, cancel is not None]) != 1:
        raise fail("give --from and --to, or one of --retry, --follow, --cancel")
    if ranged and (first is None or last is None):
        raise fail("--from and --to are given together; both days are included")
    url = load_settings().dagster_webserver_url
    if url is None:
        raise fail(
            "BOXOFFICE_DAGSTER_WEBSERVER_URL is not set. `make up` sets it; else set it to the "
            "address of a running Dagster webserver"
        )
    reporter = Reporter()
    try:
        dagster = Webserver(url)
        if first is not None and last is not None:
            backfill_id = backfills.launch(dagster, first, last, metrics_only=metrics_only)
        elif retry is not None:
            backfill_id = backfills.retry(dagster, retry)
        elif cancel is not None:
            backfills.cancel(dagster, backfill_id := cancel)
        else:
            backfill_id = str(follow)
        reporter.say(f"Backfill {backfill_id}: {backfills.page(dagster, backfill_id)}")
        if not wait:
            return
        try:
            with reporter.step("Backfill") as step:
                ended = backfills.follow(dagster, backfill_id, step.progress, step.say)
                if ended.missing and cancel is None:
                    raise fail(backfills.explain(dagster, ended))
                step.detail = f"{len(ended.published)} of {len(ended.days)} days published"
        except KeyboardInterrupt:
            reporter.say(
                "\nNo longer waiting; the backfill goes on. Look again with"
                f" `boxoffice backfill --follow {backfill_id}`, stop it with"
                f" `boxoffice backfill --cancel {backfill_id}`."
            )
            raise typer.Exit(130) from None
    except (backfills.BackfillError, WebserverError) as error:
        raise fail(error) from None


@source_app.command("check")
def check_source(
    day: Annotated[
        str | None,
        typer.Option(help="Reporting day whose statements are planned, YYYY-MM-DD (yesterday)."),
    ] = None,
) -> None:
    """Compare what the source returns with the contract; see docs/adopting.md."""
    from datetime import UTC, datetime, timedelta

    import psycopg

    from metrics.calendar import DayRange, business_date, parse_date
    from resources.source import check_contract
    from resources.source_check import check_plans, check_role
    from resources.source_contract import FACTS

    settings = load_settings()
    url = settings.source_url.get_secret_value()
    try:
        yesterday = business_date(settings.time_zone, datetime.now(UTC)) - timedelta(days=1)
        checked = parse_date(day) if day else yesterday
        days = DayRange(settings.time_zone, checked, checked)
        problems = check_contract(url, days)
        with psycopg.connect(url) as connection:
            warnings = check_role(connection) + check_plans(connection, days)
    except (ValueError, psycopg.Error) as error:
        raise fail(error) from None
    width = max(map(len, FACTS))
    for name, fact in FACTS.items():
        wrong = [problem for problem in problems if problem.fact == name]
        state = f"problems: {len(wrong)}" if wrong else f"ok, {len(fact.columns)} columns"
        typer.secho(f"  {name:<{width}}  {state}", fg=typer.colors.RED if wrong else None)
        for problem in wrong:
            typer.echo(f"  {'':<{width}}    {problem}")
    for warning in warnings:
        typer.secho(f"Warning: {warning.message}", fg=typer.colors.YELLOW)
    if problems:
        raise fail(f"the source breaks the contract: {_counted(len(problems), 'problem')}")
    typer.echo(f"The source keeps the contract; {_counted(len(warnings), 'warning')}.")


@app.command()
def simulate(
    for_seconds: Annotated[
        float | None, typer.Option("--for", help="Seconds to run; until Ctrl-C if not given.")
    ] = None,
    orders: Annotated[int | None, typer.Option(help="Stop after this many new orders.")] = None,
    speed: Annotated[
        float, typer.Option(help="Minutes of orders per minute of the wall clock.")
    ] = 1.0,
    rate: Annotated[float, typer.Option(help="Orders per minute at speed 1.")] = 30.0,
) -> None:
    """Let the sample platform go on living: new orders, and changes of past ones."""
    import psycopg

    from local.progress import Reporter
    from local.ticketing import simulate as simulation

    def counted(report: simulation.SimulationReport) -> str:
        kinds = [f"{count:,} {kind}" for kind, count in sorted(report.counts.items()) if count]
        return ", ".join(kinds) or "nothing yet"

    settings = load_settings()
    owner_url = source_owner_url(settings)
    reporter = Reporter()
    try:
        with reporter.step("Simulating (Ctrl-C stops it)") as step:
            result = simulation.simulate(
                owner_url,
                for_seconds=for_seconds,
                orders=orders,
                rate=rate,
                speed=speed,
                time_zone=settings.time_zone,
                on_tick=lambda report: step.progress(counted(report), None),
            )
            step.detail = f"in {result.ticks:,} transactions"
    except (ValueError, RuntimeError, psycopg.Error) as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        raise fail("interrupted twice: the transaction under way was rolled back") from None
    reporter.say(f"Wrote {counted(result)}.")


@app.command()
def migrate() -> None:
    """Bring the warehouse and the lake to this code's version; safe to repeat."""
    import psycopg
    import sqlalchemy.exc

    from local.progress import Reporter
    from pipelines.migrate import migrate as migrate_all

    settings = load_settings()
    try:
        with Reporter().step("Migrating the warehouse and the lake"):
            migrate_all(settings)
    except (psycopg.OperationalError, sqlalchemy.exc.OperationalError) as error:
        raise fail(error) from None


inspection.register(app)
serving.register(app)

if __name__ == "__main__":
    sys.exit(app())
