"""One attempt at an export job: from its lease to one complete file, or to none.

Belongs here: the order of effects, and what a failure means for the job. Does not belong here: rows
(``exports.reading``), bytes (``exports.writing``), states (``warehouse.export_jobs``), Dagster.

A file counts only once the job says so. So the order is: upload, manifest, job; and whatever goes
wrong before the last one, file and manifest are deleted again.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import duckdb
import psycopg

from exports.catalogue import find_catalogue
from exports.filters import RequestError
from exports.heartbeat import Connect, Heartbeat
from exports.manifest import build_manifest, put_manifest
from exports.masking import Requester, Role
from exports.naming import disposition, file_key, file_name, manifest_key
from exports.options import Options, parse_options
from exports.reading import (
    ExportRows,
    NotPublishedError,
    Sources,
    open_rows,
)
from exports.requests import ExportRequest, named, validate
from exports.spill import DiskSpaceError, spill
from exports.writing import Written, content_type, extension, write_export
from resources.bucket import Bucket, BucketError
from warehouse.access_log import Access
from warehouse.export_jobs import (
    CancelRequestedError,
    FileGoneError,
    FinishedFile,
    Lease,
    LeaseLostError,
    confirm_cancel,
    fail,
    find_shareable,
    finish,
    finish_shared,
    start,
)
from warehouse.export_states import Job, State, lock
from warehouse.faults import ExportFaultPoint, reached

LEASE = timedelta(seconds=60)
"""How long a run has a job without renewing its lease: after that it is taken for lost."""
MAX_ATTEMPTS = 3
RETRY_AFTER = timedelta(seconds=20)
_RENEW_EVERY = timedelta(seconds=2)
_SHARED_FOR_AT_LEAST = timedelta(hours=1)
_SPILLED_BYTES_A_CELL = 24
_SAY_EVERY_SECONDS = 5.0


class ExportFailedError(RuntimeError):
    """An attempt made no file.

    Attributes:
        job: as it is now: queued for another attempt, failed, or cancelled.
        detail: what is wrong and what to do, for the operator; without personal data.
        frames: where it happened; the error's own text is left out, as rows may be in it.
    """

    def __init__(self, job: Job, detail: str, frames: Sequence[traceback.FrameSummary]) -> None:
        """Say what is wrong."""
        self.job = job
        self.detail = detail
        self.frames = frames
        super().__init__(detail)


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """What attempts need.

    Attributes:
        connect: opens a connection to the warehouse as its publisher.
        keep: how long files are kept.
        spill_directory: where temporary files are made; None for the system's folder.
    """

    connect: Connect = field(repr=False)
    sources: Sources
    bucket: Bucket
    keep: timedelta
    spill_directory: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """A job that succeeded or was cancelled, and how long the attempt took."""

    job: Job
    seconds: float


@dataclass(frozen=True)
class _Work:
    """One attempt under way."""

    exporter: Exporter
    job: Job
    lease: Lease
    heartbeat: Heartbeat
    say: Callable[[str], None]


def attempt_export(
    exporter: Exporter, job_id: UUID, attempt: int, run_id: str, say: Callable[[str], None]
) -> Outcome:
    """Work on a job until it has a complete file, or this attempt has failed and left none.

    Args:
        say: told about progress, in sentences without personal data.

    Raises:
        LeaseLostError: the attempt does not have the job, or lost it.
        ExportFailedError: the attempt failed; the job knows why.
    """
    began = time.monotonic()
    with exporter.connect() as connection:
        job, lease = start(connection, job_id, attempt, run_id, LEASE)
    try:
        with Heartbeat(exporter.connect, lease, LEASE, _RENEW_EVERY) as heartbeat:
            job = _produce(_Work(exporter, job, lease, heartbeat, say))
    except CancelRequestedError:
        with exporter.connect() as connection:
            job = confirm_cancel(connection, lease)
    except LeaseLostError:
        raise
    except BaseException as error:
        failed = _give_up(exporter, lease, error)
        if isinstance(error, Exception):
            raise failed from error
        raise  # the process was told to end
    return Outcome(job, time.monotonic() - began)


def _produce(work: _Work) -> Job:
    """The finished job."""
    job, exporter = work.job, work.exporter
    requester = Requester(role=Role(job.role), organizer_id=job.organizer_id, reason=job.reason)
    with exporter.connect() as connection:
        catalogue = find_catalogue(connection, exporter.sources.lake, *named(job.filters))
    request = validate(job.dataset, job.filters, job.columns, requester, catalogue)
    options = parse_options(job.format, job.options, request.dataset)
    with open_rows(exporter.sources, request, by_event=options.by_event) as rows:
        work.heartbeat.counted(rows.totals.rows)
        access = _access(request, job, rows.totals.rows)
        if (shared := _share(work, rows, access)) is not None:
            work.say(f"the file of export {shared.shared_from} is the same: it is used")
            return shared
        work.say(f"{rows.totals.rows:,} rows of {job.dataset} to write as {job.format}")
        name = file_name(request, rows, extension(job.format, options))
        key = file_key(job, name, exporter.sources.time_zone)
        with _deleted_unless_finished(work, key):
            written = _write(work, rows, options, key, name)
            manifest = build_manifest(
                request=request,
                rows=rows,
                written=written,
                format_name=job.format,
                options=options.canonical(),
                key=key,
                generated_at=datetime.now(UTC),
            )
            put_manifest(exporter.bucket, manifest)
            reached(ExportFaultPoint.UPLOADED)
            result = written.result
            file = FinishedFile(
                key=key,
                size=result.bytes,
                rows=result.rows,
                manifest=manifest,
                data_version=rows.data_version,
            )
            done = _finish(work, file, access)
        reached(ExportFaultPoint.FINISHED)
        return done


def _write(work: _Work, rows: ExportRows, options: Options, key: str, name: str) -> Written:
    """Upload the file while it is written."""
    total, said_at = rows.totals.rows, time.monotonic()

    def progress(count: int) -> None:
        nonlocal said_at
        reached(ExportFaultPoint.RENDERING)
        work.heartbeat.wrote(count)
        if time.monotonic() - said_at >= _SAY_EVERY_SECONDS:
            said_at = time.monotonic()
            work.say(f"{count:,} of {total:,} rows written")

    largest = max((event.rows for event in (rows.by_event or {}).values()), default=total)
    expected = largest * len(rows.description.columns) * _SPILLED_BYTES_A_CELL
    with work.exporter.bucket.upload(
        key,
        content_type=content_type(work.job.format, options),
        disposition=disposition(name),
        metadata={"job": str(work.job.job_id), "attempt": str(work.lease.attempt)},
    ) as target:
        return write_export(
            rows,
            work.job.format,
            options,
            target,
            lambda: spill(work.exporter.spill_directory, expected),
            progress,
        )


def _share(work: _Work, rows: ExportRows, access: Access | None) -> Job | None:
    """The job finished with another one's file, if there is one with the same content."""
    with work.exporter.connect() as connection:
        source = find_shareable(connection, work.job, rows.data_version, _SHARED_FOR_AT_LEAST)
        if source is None or source.file_key is None:
            return None
        if not work.exporter.bucket.exists(source.file_key):
            work.say(
                f"the file of export {source.job_id} is gone from the bucket: a new one is made"
            )
            return None
        try:
            return finish_shared(connection, work.lease, source, work.exporter.keep, access)
        except FileGoneError:
            return None


def _finish(work: _Work, file: FinishedFile, access: Access | None) -> Job:
    """Finish the job, also when the connection breaks while the warehouse commits."""
    until = time.monotonic() + LEASE.total_seconds()
    while True:
        try:
            with work.exporter.connect() as connection, connection.transaction():
                # Locked: it waits for a commit whose answer was lost.
                job, _ = lock(connection, work.job.job_id)
                if job.state is State.SUCCEEDED and job.file_key == file.key:
                    return job
                return finish(connection, work.lease, file, work.exporter.keep, access)
        except psycopg.OperationalError:
            if time.monotonic() >= until:
                raise
            work.say("the warehouse cannot be reached; trying again to finish the export")
            time.sleep(1)


@contextmanager
def _deleted_unless_finished(work: _Work, key: str) -> Iterator[None]:
    """Take back file and manifest if the job did not succeed with them.

    What cannot be deleted now, or not be known now, is left to the sweep: no job has it.
    """
    try:
        yield
    except BaseException:
        with suppress(BucketError, psycopg.Error):
            with work.exporter.connect() as connection, connection.transaction():
                job, _ = lock(connection, work.job.job_id)
            if job.file_key != key:
                work.exporter.bucket.delete([manifest_key(key), key])
        raise


def _access(request: ExportRequest, job: Job, rows: int) -> Access | None:
    """The entry of the access log, where personal data leaves clear."""
    if not request.disclosed:
        return None
    return Access(
        actor=job.requester,
        role=job.role,
        organizer_id=job.organizer_id,
        action="export",
        job_id=job.job_id,
        dataset=job.dataset,
        filters=job.filters,
        clear_columns=request.disclosed,
        reason=job.reason,
        row_count=rows,
    )


def _give_up(exporter: Exporter, lease: Lease, error: BaseException) -> ExportFailedError:
    """Tell the job why the attempt failed."""
    shown, detail, is_worth_another = _explain(error, lease)
    with exporter.connect() as connection:
        job = fail(
            connection,
            lease,
            shown,
            retry_after=RETRY_AFTER if is_worth_another else None,
            max_attempts=MAX_ATTEMPTS,
        )
    return ExportFailedError(job, detail, last_frames(error))


def last_frames(error: BaseException) -> Sequence[traceback.FrameSummary]:
    """Where an error was raised, innermost last."""
    return traceback.extract_tb(error.__traceback__)[-8:]


def _explain(error: BaseException, lease: Lease) -> tuple[str, str, bool]:
    """What the requester is told, what the operator is told, and whether to try again."""
    operator = f"The operator finds it in run {lease.run_id}."
    match error:
        case RequestError():
            return f"This cannot be exported any more: {error}.", str(error), False
        case NotPublishedError():
            return f"There is nothing to export yet: {error}.", str(error), False
        case DiskSpaceError():
            shown = f"There is not enough disk space to make the file. {operator}"
            return shown, str(error), True
        case BucketError():
            return f"The file could not be stored. {operator}", str(error), error.is_transient
        case psycopg.OperationalError() | duckdb.IOException():
            shown = f"The data could not be read. {operator}"
            detail = f"the warehouse or the lake could not be read ({type(error).__name__})"
            return shown, detail, True
        case duckdb.OutOfMemoryException():
            shown = f"The export needs more memory than it may have. Ask for fewer rows. {operator}"
            return shown, "raise BOXOFFICE_EXPORTS_MEMORY_LIMIT", False
        case Exception():
            shown = f"The export failed inside Box Office ({type(error).__name__}). {operator}"
            detail = f"{type(error).__name__}; its text is left out, as it may hold data of rows"
            return shown, detail, True
        case _:
            return "An operator stopped the export. Ask for it again.", "the run was stopped", False
