"""Housekeeping of exports: files that have been kept long enough, and what broken attempts left.

Belongs here: what of the bucket and of the temporary folder may go. Does not belong here: when
(``pipelines.schedules``), or which states jobs have (``warehouse.export_queue``).

Only what is known to be ours goes: an object or upload whose key names an export of this warehouse,
and an attempt of it that has ended. Everything else is counted and left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from exports.naming import manifest_key, parse_key
from resources.bucket import PREFIX, Bucket
from resources.spill_folders import sweep_spill_folders
from warehouse.export_jobs import get_jobs
from warehouse.export_queue import expire, files_to_delete, record_deleted
from warehouse.export_states import Job, State

_BATCH = 500


@dataclass
class Cleaned:
    """What was done.

    Attributes:
        expired: exports whose time was up.
        files: expired files that were deleted.
        leftovers: objects of attempts that made no file.
        uploads: unfinished uploads of such attempts.
        folders: temporary folders of processes that are gone.
        foreign: objects below our prefix that belong to no export of this warehouse; left alone.
    """

    expired: int = 0
    files: int = 0
    leftovers: int = 0
    uploads: int = 0
    folders: int = 0
    foreign: int = 0

    def __str__(self) -> str:
        """For the log."""
        said = (
            f"{self.expired} exports expired, {self.files} of their files deleted;"
            f" {self.leftovers} files and {self.uploads} uploads of broken attempts and"
            f" {self.folders} temporary folders removed"
        )
        if self.foreign:
            said += f"; {self.foreign} objects are not of this warehouse's exports and were left"
        return said


def clean_exports(
    connection: psycopg.Connection[Any], bucket: Bucket, spill_directory: Path | None
) -> Cleaned:
    """Delete what is no longer needed; safe to repeat, and beside exports that are being made."""
    cleaned = Cleaned()
    while jobs := expire(connection):
        cleaned.expired += len(jobs)
    while keys := files_to_delete(connection):
        for key in keys:
            bucket.delete([manifest_key(key), key])
            record_deleted(connection, key)
            cleaned.files += 1
    for found in _batches(bucket.list_keys(PREFIX)):
        jobs_by_id = _jobs(connection, found)
        leftovers = []
        for key in found:
            owner = _owner(key, jobs_by_id)
            if owner is None:
                cleaned.foreign += 1
            elif not _is_live(key, owner) and not _is_used(key, owner):
                leftovers.append(key)
        bucket.delete(leftovers)
        cleaned.leftovers += len(leftovers)

    def is_abandoned(key: str) -> bool:
        owner = _owner(key, _jobs(connection, [key]))
        return owner is not None and not _is_live(key, owner)

    cleaned.uploads = len(bucket.sweep_uploads(is_abandoned))
    cleaned.folders = len(sweep_spill_folders(str(spill_directory) if spill_directory else None))
    return cleaned


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(keys)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _jobs(connection: psycopg.Connection[Any], keys: Iterable[str]) -> dict[UUID, Job]:
    return get_jobs(connection, (parsed.job_id for key in keys if (parsed := parse_key(key))))


def _owner(key: str, jobs: dict[UUID, Job]) -> Job | None:
    parsed = parse_key(key)
    return jobs.get(parsed.job_id) if parsed else None


def _is_live(key: str, job: Job) -> bool:
    """Whether the attempt that a key names may still finish the job."""
    parsed = parse_key(key)
    return parsed is not None and job.state is State.RUNNING and job.attempt == parsed.attempt


def _is_used(key: str, job: Job) -> bool:
    """Whether the key is the job's file or manifest, also while an expired one waits to go."""
    return job.file_key is not None and key in (job.file_key, manifest_key(job.file_key))
