"""Manifests: what a file is, said beside it, and checking a file against it.

Belongs here: the content of a manifest, storing, reading and verifying it. Does not belong here:
counting rows of a finished file again (``exports.recount``), writing files (``exports.writing``).

No personal data is in a manifest: of a search only what ``ExportRequest.labels`` shows, of the
requester only the role and organizer. ``generated_at`` and ``key`` alone differ between two
exports of the same request and data version by the same code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from exports.columns import Column
from exports.coverage import label
from exports.formats.writing import Result
from exports.naming import manifest_key
from exports.reading import ControlTotals, ExportRows
from exports.recount import can_recount, recount
from exports.requests import ExportRequest
from exports.spill import spill
from exports.writing import Written, check
from metrics.money import format_minor
from resources.bucket import Bucket

MANIFEST_VERSION = 1


class ManifestError(RuntimeError):
    """What lies beside a file is not a manifest of this version, or not of that file."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What became of checking a file.

    Attributes:
        rows: counted anew; None where the format does not let them be counted cheaply.
        problems: what differs from the manifest, in words; none where the file is right.
    """

    key: str
    bytes: int
    sha256: str
    rows: int | None
    problems: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Whether the file is the one that its manifest describes."""
        return not self.problems

    def lines(self) -> Iterator[str]:
        """For people."""
        yield self.key
        yield f"bytes    {self.bytes:,}"
        yield f"sha256   {self.sha256}"
        if self.rows is None:
            yield "rows     not counted again: the format does not let them be counted cheaply"
        else:
            yield f"rows     {self.rows:,}, counted and summed again"
        yield from (f"wrong    {problem}" for problem in self.problems)
        if self.is_right:
            yield "the file is the one that its manifest describes"


def build_manifest(
    *,
    request: ExportRequest,
    rows: ExportRows,
    written: Written,
    format_name: str,
    options: Mapping[str, object],
    key: str,
    generated_at: datetime,
) -> dict[str, Any]:
    """The manifest of a file that was written, as plain JSON data.

    Args:
        options: of the format, as they were stored.
        key: of the file.
        generated_at: with a time zone.

    Raises:
        IncompleteReadError: the file does not have what was counted.
    """
    result, description = written.result, rows.description
    check(result, rows.totals, key)
    zone = description.time_zone
    return {
        "manifest_version": MANIFEST_VERSION,
        "key": key,
        "dataset": request.dataset.name,
        "title": description.title,
        "requested_by": {
            "role": request.requester.role.value,
            "organizer_id": request.requester.organizer_id,
        },
        "filters": [{"label": name, "value": value} for name, value in request.labels],
        "columns": [_column(request, column) for column in description.columns],
        "format": format_name,
        "options": dict(options),
        "data_version": rows.data_version,
        "lake_snapshot": rows.lake_snapshot,
        "as_of": rows.as_of.astimezone(zone).isoformat(),
        "time_zone": zone.key,
        "is_complete": rows.is_complete,
        "missing": label(rows.missing) if rows.missing else None,
        "generated_at": generated_at.astimezone(UTC).isoformat(),
        "code_version": version("box-office"),
        "file": _file(key.rsplit("/", 1)[1], result),
        "totals": _totals(result),
        "events": list(rows.events),
        "entries": [
            {"event_id": entry.event_id, **_file(entry.name, entry.result)}
            | {"totals": _totals(entry.result)}
            for entry in written.entries
        ],
    }


def encode_manifest(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is stored: always the same bytes for the same content."""
    return (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode()


def put_manifest(bucket: Bucket, manifest: Mapping[str, Any]) -> None:
    """Store a manifest beside its file."""
    bucket.put_bytes(
        manifest_key(manifest["key"]), encode_manifest(manifest), content_type="application/json"
    )


def read_manifest(bucket: Bucket, key: str) -> dict[str, Any]:
    """The manifest of the file at a key.

    Raises:
        ObjectMissingError: there is none.
        ManifestError: it is none of this version, or is another file's.
    """
    raw = bucket.read_bytes(manifest_key(key))
    try:
        manifest = json.loads(raw)
        found = (manifest["manifest_version"], manifest["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{manifest_key(key)} is not a manifest: {error}") from error
    if found != (MANIFEST_VERSION, key):
        raise ManifestError(
            f"{manifest_key(key)} is a manifest of version {found[0]} of {found[1]}, not of"
            f" version {MANIFEST_VERSION} of {key}"
        )
    return dict(manifest)


def verify(bucket: Bucket, key: str, spill_directory: Path | None = None) -> Verification:
    """Read a file back and compare it with its manifest.

    Bytes and SHA-256 are compared for every format. For CSV, NDJSON and Parquet the rows are
    counted and summed again as well, from a temporary file.

    Raises:
        ObjectMissingError: file or manifest are not there.
        ManifestError: see ``read_manifest``.
        BucketError: the store cannot be read.
        DiskSpaceError: there is no space for the temporary file.
    """
    manifest = read_manifest(bucket, key)
    recountable = can_recount(manifest)
    digest, length, again = hashlib.sha256(), 0, None
    with ExitStack() as stack:
        copy: BinaryIO | None = None
        if recountable:
            copy = stack.enter_context(spill(spill_directory, bucket.size(key)))
        for chunk in bucket.read_chunks(key):
            digest.update(chunk)
            length += len(chunk)
            if copy is not None:
                copy.write(chunk)
        problems = list(_differences(manifest["file"], length, digest.hexdigest()))
        if copy is not None and not problems:
            copy.seek(0)
            again = recount(copy, manifest)
            if again != (expected := _expected(manifest)):
                problems.append(f"it has {again}, the manifest says {expected}")
    return Verification(
        key=key,
        bytes=length,
        sha256=digest.hexdigest(),
        rows=None if again is None else again.rows,
        problems=tuple(problems),
    )


def _differences(file: Mapping[str, Any], length: int, sha256: str) -> Iterator[str]:
    if length != file["bytes"]:
        yield f"it has {length:,} bytes, the manifest says {file['bytes']:,}"
    if sha256 != file["sha256"]:
        yield f"its SHA-256 is not {file['sha256']}"


def _expected(manifest: Mapping[str, Any]) -> ControlTotals:
    totals = manifest["totals"]
    money = {
        code: {name: amount["minor_units"] for name, amount in sums.items()}
        for code, sums in totals["money"].items()
    }
    return ControlTotals(rows=totals["rows"], money=money, counts=totals["counts"])


def _column(request: ExportRequest, column: Column) -> dict[str, Any]:
    own = request.dataset.by_name.get(column.name)
    return {
        "name": column.name,
        "header": column.header,
        "kind": column.kind.value,
        "currency": column.currency,
        "is_totalled": column.total,
        "given": "clear" if own is None else request.treatment(own).value,
    }


def _file(name: str, result: Result) -> dict[str, Any]:
    return {
        "name": name,
        "bytes": result.bytes,
        "sha256": result.sha256,
        "rows": result.rows,
        "parts": result.parts,
        "texts_altered": asdict(result.texts),
    }


def _totals(result: Result) -> dict[str, Any]:
    return {
        "rows": result.rows,
        "money": {
            code: {
                name: {"minor_units": amount, "decimal": format_minor(amount, code)}
                for name, amount in sums.items()
            }
            for code, sums in result.money.items()
        },
        "counts": dict(result.counts),
    }
