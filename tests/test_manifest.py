"""A manifest says what its file is, names nobody, and finds a file that is another one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from exports.columns import Description
from exports.formats.registry import FORMATS
from exports.manifest import (
    ManifestError,
    Verification,
    build_manifest,
    encode_manifest,
    put_manifest,
    verify,
)
from exports.masking import Requester, Role
from exports.naming import disposition, file_key, file_name, manifest_key, parse_key
from exports.options import parse_options
from exports.reading import ControlTotals, ExportRows, IncompleteReadError
from exports.requests import Catalogue, ExportRequest, validate
from exports.spill import spill
from exports.writing import Written, content_type, extension, write_export
from resources.bucket import PREFIX, Bucket, ObjectMissingError
from tests.conftest import Servers
from warehouse.export_states import Job

JOB = UUID("6f9c0c2e-0000-4000-8000-000000000001")
AS_OF = datetime(2026, 3, 9, 22, 30, tzinfo=UTC)
NAIROBI = ZoneInfo("Africa/Nairobi")
CATALOGUE = Catalogue(events={7: 3, 8: 3}, ticket_types={})
ADMIN = Requester(role=Role.ADMIN)
CLEAR = Requester(role=Role.SUPER_ADMIN, reason="an inquiry")
COLUMNS = [
    *("ticket_id", "event_id", "event_name", "attendee_name", "attendee_key", "contact_consent"),
    *("charged", "currency", "issued_at"),
]
FRAME = pl.DataFrame(
    {
        "ticket_id": range(1, 7),
        "event_id": [7, 7, 7, 8, 8, 8],
        "event_name": ['Two\nlines, "quoted"', "=1+1", "", None, "naïve 🎪", "plain"],
        "attendee_name": ["***", "***", None, "***", "***", "***"],
        "attendee_key": ["a", "b", "c", None, "e", "f"],
        "contact_consent": [True, False, None, True, True, False],
        "charged": [150_050, -250, None, 7, 1_000, 2**60],
        "currency": ["KES", "KES", None, "JPY", "KWD", "KES"],
        "issued_at": [AS_OF] * 6,
    },
    schema_overrides={"issued_at": pl.Datetime("us", "UTC")},
)
TOTALS = ControlTotals(
    rows=6,
    money={
        "JPY": {"charged": 7},
        "KES": {"charged": 150_050 - 250 + 2**60},
        "KWD": {"charged": 1_000},
    },
    counts={},
)


@pytest.fixture(scope="module")
def bucket(servers: Servers) -> Iterator[Bucket]:
    servers.s3.create_buckets("test-manifests")
    bucket = Bucket(
        name="test-manifests",
        region="us-east-1",
        endpoint_url=servers.s3.endpoint_url,
        access_key_id=servers.s3.access_key_id,
        secret_access_key=servers.s3.password,
    )
    yield bucket
    bucket.delete(list(bucket.list_keys()))


def asked(requester: Requester = ADMIN, **filters: object) -> ExportRequest:
    return validate("attendees", filters, COLUMNS, requester, CATALOGUE)


def rows(request: ExportRequest, frame: pl.DataFrame = FRAME, size: int = 4) -> ExportRows:
    return ExportRows(
        dataset="attendees",
        description=Description(
            title="Attendees",
            columns=tuple(column.written() for column in request.columns),
            filters=request.labels,
            data_version="lake-12",
            as_of=AS_OF,
            time_zone=NAIROBI,
        ),
        totals=TOTALS,
        lake_snapshot=12,
        is_complete=True,
        missing=(),
        by_event={
            event: ControlTotals(rows=3, money=money, counts={})
            for event, money in (
                (7, {"KES": {"charged": 149_800}}),
                (8, {"JPY": {"charged": 7}, "KES": {"charged": 2**60}, "KWD": {"charged": 1_000}}),
            )
        },
        events=(),
        batches=iter(frame.iter_slices(size)),
    )


def job(**values: object) -> Job:
    empty: dict[str, Any] = dict.fromkeys(field.name for field in fields(Job))
    known = {"job_id": JOB, "role": "admin", "attempt": 1, "created_at": AS_OF}
    return Job(**(empty | known | values))


def export(
    bucket: Bucket,
    format_name: str,
    request: ExportRequest | None = None,
    attempt: int = 1,
    **options: object,
) -> tuple[str, dict[str, Any], bytes]:
    """Write, upload and describe a file."""
    request = request or asked()
    read, parsed = rows(request), parse_options(format_name, options, None)
    name = file_name(request, read, extension(format_name, parsed))
    key = file_key(job(attempt=attempt), name, NAIROBI.key)
    with bucket.upload(
        key, content_type=content_type(format_name, parsed), disposition=disposition(name)
    ) as target:
        written = write_export(
            read, format_name, parsed, target, lambda: spill(None, 2**20), lambda _: None
        )
    manifest = build_manifest(
        request=request,
        rows=read,
        written=written,
        format_name=format_name,
        options=parsed.canonical(),
        key=key,
        generated_at=AS_OF + timedelta(minutes=attempt),
    )
    put_manifest(bucket, manifest)
    return key, manifest, bucket.read_bytes(key)


@pytest.mark.parametrize(
    ("format_name", "options"),
    [
        *((name, {}) for name in FORMATS),
        ("csv", {"bom": True, "delimiter": ";", "decimal_separator": ","}),
        ("csv", {"packaging": "file_per_event"}),
        ("xlsx", {"packaging": "file_per_event"}),
    ],
)
def test_a_file_is_what_its_manifest_says_and_the_same_request_makes_it_again(
    bucket: Bucket, format_name: str, options: dict[str, object]
) -> None:
    key, manifest, data = export(bucket, format_name, **options)
    verification = verify(bucket, key)
    assert verification.problems == ()
    assert verification.is_right
    assert verification.bytes == len(data) == manifest["file"]["bytes"]
    counted = format_name in ("csv", "ndjson", "parquet") and "packaging" not in options
    assert verification.rows == (6 if counted else None)
    assert manifest["file"]["rows"] == manifest["totals"]["rows"] == 6
    assert manifest["totals"]["money"]["KES"]["charged"]["minor_units"] == 2**60 + 149_800
    assert manifest["totals"]["money"]["KWD"]["charged"]["decimal"] == "1.000"
    assert (manifest["data_version"], manifest["lake_snapshot"]) == ("lake-12", 12)
    assert manifest["options"] == options
    if "packaging" in options:
        assert [entry["event_id"] for entry in manifest["entries"]] == [7, 8]
        assert sum(entry["rows"] for entry in manifest["entries"]) == 6

    again_key, again, again_data = export(bucket, format_name, attempt=2, **options)
    assert again_data == data
    assert {name for name in manifest if manifest[name] != again[name]} == {"key", "generated_at"}
    assert again_key != key


@pytest.mark.parametrize("size", [1, 3, 6])
def test_a_manifest_does_not_depend_on_how_rows_arrived(size: int) -> None:
    def made(read: ExportRows) -> bytes:
        written = write_export(
            read,
            "csv",
            parse_options("csv", {}),
            io.BytesIO(),
            lambda: spill(None, 0),
            lambda _: None,
        )
        return encode_manifest(described(asked(), read, written))

    assert made(rows(asked(), size=size)) == made(rows(asked()))


def described(request: ExportRequest, read: ExportRows, written: Written) -> dict[str, Any]:
    return build_manifest(
        request=request,
        rows=read,
        written=written,
        format_name="csv",
        options={},
        key="exports/x.csv",
        generated_at=AS_OF,
    )


def write(read: ExportRows) -> Written:
    options = parse_options("csv", {})
    return write_export(read, "csv", options, io.BytesIO(), lambda: spill(None, 0), lambda _: None)


def test_columns_say_how_they_were_given() -> None:
    def given(requester: Requester) -> dict[str, str]:
        request = asked(requester)
        manifest = described(request, rows(request), write(rows(request)))
        return {column["name"]: column["given"] for column in manifest["columns"]}

    assert given(ADMIN)["attendee_name"] == "masked"
    assert given(ADMIN)["attendee_key"] == "pseudonym"
    assert given(ADMIN)["ticket_id"] == "clear"
    assert given(CLEAR)["attendee_name"] == "clear"
    organizer = given(Requester(role=Role.ORGANIZER, organizer_id=3))
    assert organizer["attendee_name"] == "clear where consent was given, else masked"


def test_what_was_searched_for_is_in_the_manifest_only_for_those_who_see_it() -> None:
    for requester, is_shown in ((ADMIN, False), (CLEAR, True)):
        request = asked(requester, search="Wanjiku", events=[7])
        manifest = described(request, rows(request), write(rows(request)))
        assert (b"Wanjiku" in encode_manifest(manifest)) == is_shown
        assert b"inquiry" not in encode_manifest(manifest)
        assert {"label": "Events", "value": "7"} in manifest["filters"]


@pytest.mark.parametrize(
    "counted",
    [
        replace(TOTALS, rows=5),
        replace(TOTALS, money=TOTALS.money | {"JPY": {"charged": 8}}),
        replace(TOTALS, money={"KES": TOTALS.money["KES"]}),
        replace(TOTALS, counts={"tickets": 1}),
    ],
)
def test_a_file_without_what_was_counted_gets_no_manifest(counted: ControlTotals) -> None:
    read = rows(asked())
    written = write(read)
    with pytest.raises(IncompleteReadError, match="must not be used"):
        described(asked(), replace(read, totals=counted), written)


def problems(bucket: Bucket, key: str) -> str:
    verification = verify(bucket, key)
    assert not verification.is_right
    assert any(line.startswith("wrong") for line in verification.lines())
    return "; ".join(verification.problems)


def test_a_file_that_was_altered_cut_or_replaced_is_found(bucket: Bucket) -> None:
    key, _, data = export(bucket, "csv", attempt=3)
    for wrong, said in (
        (data.replace(b"1500.50", b"1600.50"), "SHA-256"),
        (data[:-1], "bytes"),
        (b"", "bytes"),
    ):
        assert wrong != data
        bucket.put_bytes(key, wrong, content_type="text/csv")
        assert said in problems(bucket, key)


@pytest.mark.parametrize("format_name", ["csv", "ndjson", "parquet"])
def test_sums_that_are_not_those_of_the_file_are_found(bucket: Bucket, format_name: str) -> None:
    key, manifest, _ = export(bucket, format_name, attempt=4)
    manifest["totals"]["money"]["JPY"]["charged"]["minor_units"] = 8
    put_manifest(bucket, manifest)
    assert "'JPY': {'charged': 7}" in problems(bucket, key)
    manifest["totals"]["money"]["JPY"]["charged"]["minor_units"] = 7
    manifest["totals"]["rows"] = 7
    put_manifest(bucket, manifest)
    assert "rows=6" in problems(bucket, key)


def test_rows_are_counted_over_many_blocks(bucket: Bucket) -> None:
    many = pl.concat([FRAME.with_columns(event_name=pl.lit("x\n" * 500))] * 2_000)
    expected = ControlTotals(
        rows=12_000,
        money={c: {"charged": s["charged"] * 2_000} for c, s in TOTALS.money.items()},
        counts={},
    )
    for format_name in ("csv", "ndjson"):
        read = replace(rows(asked(), many, 5_000), totals=expected)
        key = file_key(job(attempt=5), f"many.{format_name}", NAIROBI.key)
        with bucket.upload(key, content_type="text/plain") as target:
            options = parse_options(format_name, {})
            written = write_export(
                read, format_name, options, target, lambda: spill(None, 0), lambda _: None
            )
        manifest = described(asked(), read, written) | {"key": key, "format": format_name}
        put_manifest(bucket, manifest)
        assert verify(bucket, key).rows == 12_000
        assert verify(bucket, key).problems == ()


def test_a_manifest_that_is_missing_or_not_the_files_own_is_said_so(bucket: Bucket) -> None:
    key, manifest, data = export(bucket, "csv", attempt=6)
    other = key.replace("/6/", "/7/")
    bucket.put_bytes(other, data, content_type="text/csv")
    with pytest.raises(ObjectMissingError, match=manifest_key(other)):
        verify(bucket, other)
    for wrong in (b"", b"[]", b"{}", json.dumps(manifest).encode()):
        bucket.put_bytes(manifest_key(other), wrong, content_type="application/json")
        with pytest.raises(ManifestError, match="manifest"):
            verify(bucket, other)


def test_names_and_keys_are_made_of_names_ids_and_dates_only() -> None:
    request = asked(CLEAR, events=[7], sold={"first": "2026-03-01"}, search="Wanjiku")
    name = file_name(request, rows(request), "csv")
    assert name == "attendees-event-7-from-2026-03-01-as-of-2026-03-10.csv"
    organizer = Requester(role=Role.ORGANIZER, organizer_id=3)
    request = asked(organizer, events=[7, 8], sold={"first": "2026-03-01", "last": "2026-03-02"})
    name = file_name(request, rows(request), "zip")
    assert name == ("attendees-organizer-3-2-events-2026-03-01-to-2026-03-02-as-of-2026-03-10.zip")
    key = file_key(job(role="organizer", organizer_id=3, attempt=2), name, NAIROBI.key)
    assert key == f"exports/2026-03-10/organizer-3/{JOB}/2/{name}"
    for found in (parse_key(key), parse_key(manifest_key(key))):
        assert found is not None
        assert (found.scope, found.job_id, found.attempt) == ("organizer-3", JOB, 2)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "exports/",
        "lake/attendees/x.parquet",
        f"exports/2026-03-10/admin/{JOB}/1/",
        f"exports/2026-03-10/admin/{JOB}/0/x.csv",
        f"exports/2026-03-10/admin/{JOB}/x/x.csv",
        f"exports/2026-03-10/admin/{JOB}/1/y/x.csv",
        f"exports/2026-03-10/admin/{JOB}/1/.rclone_temp_multipart_1",
        f"exports/2026-03-10/admin/{str(JOB).upper()}/1/x.csv",
        f"exports/2026-03-10/viewer/{JOB}/1/x.csv",
        f"exports/2026-03-10/organizer-x/{JOB}/1/x.csv",
        "exports/2026-03-10/admin/not-a-job/1/x.csv",
        f"other/exports/2026-03-10/admin/{JOB}/1/x.csv",
        f"exports/2026-03-10/admin/{JOB}/1/x.csv\n",
    ],
)
def test_a_key_that_is_not_ours_is_nobodys(key: str) -> None:
    assert parse_key(key) is None


def test_a_job_without_an_attempt_has_no_key() -> None:
    with pytest.raises(ValueError, match="not a key"):
        file_key(job(attempt=0), "x.csv", NAIROBI.key)
    assert file_key(job(), "x.csv", NAIROBI.key).startswith(PREFIX)


def test_a_verification_is_said_in_lines() -> None:
    right = Verification(key="k", bytes=1_000, sha256="ab", rows=None, problems=())
    assert "bytes    1,000" in list(right.lines())
    assert "not counted again" in "".join(right.lines())
