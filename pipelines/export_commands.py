"""The commands of ``boxoffice export``: ask for a file, watch it, fetch it, check it.

Belongs here: how an operator asks and what is shown. Does not belong here: what makes a request
right (``exports.submission``), the file (``exports.attempt``) or its check (``exports.manifest``).
Modules that take long to import are imported inside the command that needs them.
"""

from __future__ import annotations

import getpass
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import psycopg
import typer

from pipelines.console import fail, load_settings

if TYPE_CHECKING:
    from warehouse.export_states import Job

app = typer.Typer(help="Files of the numbers, and of the rows behind them.", no_args_is_help=True)

Dataset = Annotated[str, typer.Argument(help="What: see `boxoffice export datasets`.")]
Format = Annotated[str, typer.Option("--format", help="csv, xlsx, pdf, json, ndjson or parquet.")]
Filters = Annotated[
    str | None,
    typer.Option(help="""JSON, for example '{"events": [405], "checked_in": true}'."""),
]
Columns = Annotated[
    str | None, typer.Option(help="Names separated by commas, in the order wanted.")
]
Options = Annotated[
    str | None,
    typer.Option(help="""JSON, for example '{"bom": true, "packaging": "file_per_event"}'."""),
]
_JobId = Annotated[UUID, typer.Argument(metavar="JOB", help="As `boxoffice export request` said.")]
_LOOKS_EVERY_SECONDS = 0.2


@contextmanager
def warehouse() -> Iterator[psycopg.Connection[Any]]:
    """The warehouse; errors that a person can mend end the command with what is wrong."""
    from exports.filters import RequestError
    from resources.bucket import BucketError
    from warehouse.export_jobs import IdempotencyConflictError
    from warehouse.export_rights import RightError, UnknownAccountError
    from warehouse.export_schedules import UnknownScheduleError
    from warehouse.export_states import UnknownJobError
    from warehouse.publish import connect

    known = (
        *(BucketError, IdempotencyConflictError, RightError, UnknownAccountError),
        *(UnknownJobError, UnknownScheduleError, psycopg.Error),
    )

    url = load_settings().warehouse_url.get_secret_value()
    try:
        with connect(url) as connection:
            yield connection
    except RequestError as error:
        lines = "\n".join(f"  {p.field}: {p.message}" for p in error.problems)
        raise fail(f"this cannot be exported:\n{lines}") from None
    except known as error:
        raise fail(error) from None


def account() -> str:
    """Who asks on the command line."""
    return f"operator:{getpass.getuser()}"


@app.command()
def datasets() -> None:
    """What can be exported, with the columns and filters of each."""
    from exports.datasets import EXPORTS

    for dataset in EXPORTS.values():
        typer.secho(dataset.name, bold=True, nl=False)
        typer.echo(f": {dataset.description}")
        typer.echo(f"  columns: {', '.join(dataset.by_name)}")
        typer.echo(f"  filters: {', '.join(sorted(dataset.filters.model_fields))}")


@app.command()
def request(
    dataset: Dataset,
    format_name: Format = "csv",
    filters: Filters = None,
    columns: Columns = None,
    options: Options = None,
    organizer: Annotated[
        int | None, typer.Option(help="See what this organizer sees, and only that.")
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(help="Why you need personal data clear; it is recorded. Without: masked."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key never makes a second job.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Download the file to this path (implies --wait).")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the file is there.")] = True,
) -> None:
    """Ask for a file; the running Dagster makes it."""
    from exports.masking import Requester, Role
    from exports.submission import checked
    from pipelines.definitions import build_lake
    from warehouse.export_jobs import create_job

    if organizer is not None:
        if reason is not None:
            raise fail("--reason is for those who see every organizer; leave out --organizer")
        requester = Requester(role=Role.ORGANIZER, organizer_id=organizer)
    else:
        role = Role.ADMIN if reason is None else Role.SUPER_ADMIN
        requester = Requester(role=role, reason=reason)
    with warehouse() as connection:
        asked = checked(
            connection,
            account(),
            requester,
            dataset,
            filters=parse_json("--filters", filters),
            columns=columns.split(",") if columns is not None else None,
            format_name=format_name,
            options=parse_json("--options", options),
            lake=build_lake(load_settings()),
        )
        job, is_new = create_job(connection, asked, key or secrets.token_hex(16))
        typer.echo(f"Export {job.job_id}{'' if is_new else ' (asked for before)'}")
        if wait or output is not None:
            job = _follow(connection, job)
            _show(job)
            if output is not None:
                _download(connection, job, output)


@app.command()
def show(job_id: _JobId) -> None:
    """Where an export is, and everything that happened to it."""
    from warehouse.export_jobs import get_job, history

    with warehouse() as connection:
        job, events = get_job(connection, job_id), history(connection, job_id)
    _show(job, ok=True)
    for event in events:
        detail = f": {event.detail}" if event.detail else ""
        run = f", run {event.run_id}" if event.run_id else ""
        typer.echo(
            f"  {event.happened_at:%Y-%m-%d %H:%M:%S%z}  {event.transition} (attempt"
            f" {event.attempt}{run}){detail}"
        )


@app.command()
def cancel(job_id: _JobId) -> None:
    """Cancel an export: a queued one at once, a running one as soon as it notices."""
    from warehouse.export_jobs import request_cancel

    with warehouse() as connection:
        _show(request_cancel(connection, job_id), ok=True)


@app.command()
def link(
    job_id: _JobId,
    minutes: Annotated[int, typer.Option(min=1, max=15, help="How long the link works.")] = 15,
) -> None:
    """A link that downloads the file; anybody who has it can use it until it ends."""
    from exports.options import parse_options
    from exports.writing import content_type
    from warehouse.export_jobs import get_job

    with warehouse() as connection:
        job = get_job(connection, job_id)
        kind = content_type(job.format, parse_options(job.format, job.options))
        expires = timedelta(minutes=minutes)
        _record(connection, job, "link")
        typer.echo(_bucket().presign(_key(job), expires, content_type=kind))


@app.command()
def download(job_id: _JobId, output: Annotated[Path, typer.Argument(help="Where to.")]) -> None:
    """Fetch the file of an export that succeeded, and check it."""
    from warehouse.export_jobs import get_job

    with warehouse() as connection:
        _download(connection, get_job(connection, job_id), output)


@app.command()
def verify(
    key: Annotated[str, typer.Argument(help="Object key of the file, or the id of its export.")],
) -> None:
    """Check a file in the bucket against its manifest: bytes, SHA-256, rows, sums."""
    from exports.manifest import verify as verify_file
    from warehouse.export_jobs import get_job

    with warehouse() as connection:
        with suppress(ValueError):  # a key, not an id
            key = _key(get_job(connection, UUID(key)))
        verification = verify_file(_bucket(), key)
    for line in verification.lines():
        typer.echo(line)
    if not verification.is_right:
        raise fail(f"{key} is not the file that its manifest describes: do not use it")


@app.command("access-log")
def access_log() -> None:
    """Check the record of who was given personal data; print its newest entry to keep elsewhere."""
    from warehouse.access_log import newest_access, verify_access_log

    with warehouse() as connection:
        findings, newest = verify_access_log(connection), newest_access(connection)
    for finding in findings:
        typer.secho(f"  {finding}", fg=typer.colors.RED)
    if findings:
        raise fail("the access log was altered: compare it with a backup (docs/exports.md)")
    if newest is None:
        typer.echo("The access log is empty.")
    else:
        typer.echo(f"The access log is whole: {newest.entry} entries, newest hash {newest.hash}.")


def parse_json(option: str, text: str | None) -> object:
    """The value of an option that is JSON."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise fail(f"{option} is not JSON: {error}") from None


def _follow(connection: psycopg.Connection[Any], job: Job) -> Job:
    from local.progress import Reporter
    from warehouse.export_jobs import get_job
    from warehouse.export_states import State

    with Reporter().step("Export") as step:
        try:
            while job.state in (State.QUEUED, State.RUNNING):
                share = job.rows_written / job.rows_total if job.rows_total else None
                step.progress(_progress(job), share)
                time.sleep(_LOOKS_EVERY_SECONDS)
                job = get_job(connection, job.job_id)
        except KeyboardInterrupt:
            typer.echo(
                f"\nNo longer waiting; the export goes on: `boxoffice export show {job.job_id}`."
            )
            raise typer.Exit(130) from None
        step.detail = str(job.state)
    return job


def _progress(job: Job) -> str:
    if job.rows_total is None:
        return str(job.state)
    return f"{job.rows_written:,} of {job.rows_total:,} rows"


def _show(job: Job, *, ok: bool = False) -> None:
    """Print a job; unless ``ok``, end with an error if it has no file."""
    typer.echo(f"{job.dataset} as {job.format}: {job.state}, {_progress(job)}")
    if job.file_key:
        typer.echo(f"  {job.file_key} ({job.bytes or 0:,} bytes)")
    if job.error and ok:
        typer.echo(f"  {job.error}")
    elif not ok and not job.file_key:
        raise fail(job.error or f"the export is {job.state}")


def _key(job: Job) -> str:
    from warehouse.export_states import State

    if job.file_key is None or job.state is not State.SUCCEEDED:
        raise fail(job.error or f"export {job.job_id} is {job.state}: it has no file")
    return job.file_key


def _download(connection: psycopg.Connection[Any], job: Job, output: Path) -> None:
    """Fetch the file; it stands under its name only when it is whole."""
    import hashlib

    _record(connection, job, "download")
    key, digest = _key(job), hashlib.sha256()
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("wb") as file:
            for chunk in _bucket().read_chunks(key):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != (job.manifest or {})["file"]["sha256"]:
            raise fail(f"{key} is not the file that was made: its SHA-256 is another one")
        part.replace(output)
    except OSError as error:
        raise fail(error) from None
    finally:
        part.unlink(missing_ok=True)
    typer.echo(f"  {output}")


def _record(
    connection: psycopg.Connection[Any], job: Job, action: Literal["link", "download"]
) -> None:
    """Note that the operator is given clear personal data, before they are."""
    from exports.disclosure import file_access
    from warehouse.access_log import append_access

    _key(job)
    access = file_access(vars(job), account(), action)
    if access is not None:
        with connection.transaction():
            append_access(connection, access)


def _bucket() -> Any:
    from pipelines.definitions import build_bucket

    return build_bucket(load_settings())
