"""Exports in Dagster: the job that makes one file, and the asset that its files are.

Belongs here: what Dagster shows of an export: for whom, how far, what came of it. Nothing personal
is shown: no account, no search, no row. Does not belong here: the work (``exports.attempt``), or
what asks for runs (``sensors.export_requests``).
"""

import traceback
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import dagster as dg
import psycopg

from assets.partitioning import OWNERS
from assets.presentation import column_schema
from exports.attempt import Exporter, ExportFailedError, Outcome, attempt_export, last_frames
from exports.datasets import EXPORTS
from exports.manifest import MANIFEST_VERSION
from exports.naming import manifest_key
from metrics.datasets import DATASETS
from resources.source_contract import FACTS
from warehouse.export_jobs import LeaseLostError
from warehouse.export_states import State

EXPORT = "export"
EXPORT_OP = "export_file"
EXPORT_FILES = "export_files"
POOL = "exports"
_MANIFEST = (
    ("dataset", "text", "What was exported."),
    ("format", "text", "csv, xlsx, pdf, json, ndjson or parquet."),
    ("data_version", "text", "Version of the data: the same version and request, the same bytes."),
    ("lake_snapshot", "bigint", "Snapshot of the lake that was read; none for published tables."),
    ("rows", "bigint", "Rows, as counted beforehand and as written."),
    ("bytes", "bigint", "Size of the file."),
    ("sha256", "text", "SHA-256 of the file."),
)
"""What the manifest of a file says, among other things."""


def export_files_spec() -> dg.AssetSpec:
    """The exported files, as the asset graph shows them."""
    deps = sorted({table for export in EXPORTS.values() for table in export.tables} & set(DATASETS))
    return dg.AssetSpec(
        EXPORT_FILES,
        deps=[*deps, "movements", *(fact.table for fact in FACTS.values())],
        group_name="exports",
        kinds={"s3"},
        owners=OWNERS,
        code_version=f"manifest-{MANIFEST_VERSION}",
        description=(
            "Files that people asked for, in the exports bucket, each with its manifest. One"
            " materialization for each file; `ops.export_jobs` has every request."
        ),
        metadata={"dagster/column_schema": column_schema(*_MANIFEST)},
    )


class Attempt(dg.Config):
    """Which attempt at which export a run is."""

    job_id: str
    attempt: int


def build_export_job(tags: Mapping[str, str]) -> dg.JobDefinition:
    """The job that runs one attempt at one export."""

    @dg.op(
        name=EXPORT_OP,
        pool=POOL,
        description="Counts, reads, masks and writes the rows; uploads file and manifest.",
    )
    def export_file(
        context: dg.OpExecutionContext, config: Attempt, exporter: dg.ResourceParam[Exporter]
    ) -> None:
        try:
            outcome = attempt_export(
                exporter, UUID(config.job_id), config.attempt, context.run_id, context.log.info
            )
        except psycopg.Error as error:
            # Its text is left out: it may hold data of rows.
            raise dg.Failure(
                f"the warehouse cannot be told what became of the export ({type(error).__name__});"
                " when its lease is over, export_reaper queues it again",
                metadata={"where": dg.MetadataValue.md(_code_block(last_frames(error)))},
                allow_retries=False,
            ) from None
        except LeaseLostError as error:
            raise dg.Failure(
                f"{error}. Nothing is left of this attempt; the export itself goes on without it.",
                allow_retries=False,
            ) from None
        except ExportFailedError as error:
            raise dg.Failure(
                error.detail,
                metadata={
                    "what the requester sees": error.job.error or "it is tried again",
                    "state": error.job.state.value,
                    "where": dg.MetadataValue.md(_code_block(error.frames)),
                },
                allow_retries=False,
            ) from None
        if outcome.job.state is State.CANCELLED:
            context.log.info("The requester cancelled; no file is left.")
            return
        context.log_event(_materialization(exporter, outcome))

    @dg.job(
        name=EXPORT,
        description="Make one exported file. Started by the sensor export_requests, not by hand.",
        tags=dict(tags),
    )
    def export() -> None:
        export_file()

    return export


def _materialization(exporter: Exporter, outcome: Outcome) -> dg.AssetMaterialization:
    job, manifest = outcome.job, outcome.job.manifest or {}
    key = job.file_key or ""
    return dg.AssetMaterialization(
        EXPORT_FILES,
        description=f"{job.dataset} as {job.format}",
        metadata={
            "dagster/row_count": job.rows_total or 0,
            "dataset": job.dataset,
            "format": job.format,
            "for": job.scope,
            "bytes": job.bytes or 0,
            "seconds": round(outcome.seconds, 2),
            "rows a second": round((job.rows_total or 0) / max(outcome.seconds, 0.001)),
            "file": dg.MetadataValue.path(exporter.bucket.uri(key)),
            "manifest": dg.MetadataValue.path(exporter.bucket.uri(manifest_key(key))),
            "manifest content": dg.MetadataValue.json(_public(manifest)),
            "shared with": str(job.shared_from) if job.shared_from else "nobody",
        },
        tags={"boxoffice/export_job": str(job.job_id)},
    )


def _public(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without its filters, which may hold what was searched for."""
    return {name: value for name, value in manifest.items() if name != "filters"}


def _code_block(frames: Sequence[traceback.FrameSummary]) -> str:
    lines = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return "```\n" + "\n".join(lines) + "\n```"
