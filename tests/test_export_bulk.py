"""One export over many events is one archive: each event's rows in its own, complete file."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from exports.bulk import split
from exports.columns import Column, Description, Kind
from exports.formats.registry import FORMATS
from exports.options import Options, parse_options
from exports.reading import ControlTotals, ExportRows, IncompleteReadError, added
from exports.writing import Written, write_export

DESCRIPTION = Description(
    title="Payments",
    columns=(
        Column(name="payment_id", header="Payment ID", kind=Kind.INTEGER),
        Column(name="amount", header="Amount", kind=Kind.MONEY, currency="currency"),
        Column(name="currency", header="Currency", kind=Kind.TEXT),
        Column(name="tickets", header="Tickets", kind=Kind.INTEGER, total=True),
    ),
    filters=(("Events", "1, 2, 3"), ("Providers", "MPESA")),
    data_version="v1",
    as_of=datetime(2026, 3, 1, 9, tzinfo=UTC),
    time_zone=ZoneInfo("Africa/Nairobi"),
)
ZIPPED = Options(packaging="file_per_event")


class Upload(io.RawIOBase):
    """What an upload is: it can only be written, from front to back."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        taken = bytes(cast("bytes", data))
        self.data += taken
        return len(taken)


@contextmanager
def spill() -> Iterator[BinaryIO]:
    with TemporaryFile("w+b") as file:
        yield cast("BinaryIO", file)


def payments(counts: dict[int, int]) -> pl.DataFrame:
    """Rows of events, as many as said, sorted by event."""
    events = [event for event in sorted(counts) for _ in range(counts[event])]
    numbers = range(1, len(events) + 1)
    return pl.DataFrame(
        {
            "payment_id": list(numbers),
            "amount": [n * 100 + n % 7 for n in numbers],
            "currency": ["KES" if event % 2 else "UGX" for event in events],
            "tickets": [n % 5 for n in numbers],
            "event_id": events,
        },
        schema_overrides={"event_id": pl.Int64, "currency": pl.String},
    )


def totals(frame: pl.DataFrame) -> ControlTotals:
    sums = frame.group_by("currency").agg(pl.col("amount").sum()).sort("currency")
    return ControlTotals(
        rows=frame.height,
        money={code: {"amount": amount} for code, amount in sums.iter_rows()},
        counts={"tickets": sum(frame["tickets"])},
    )


def opened(counts: dict[int, int], batch_rows: int = 10) -> ExportRows:
    frame = payments(counts)
    by_event = {event: totals(frame.filter(event_id=event)) for event in sorted(counts)}
    return ExportRows(
        dataset="payments",
        description=DESCRIPTION,
        totals=added(by_event.values()),
        lake_snapshot=None,
        is_complete=True,
        missing=(),
        by_event=by_event,
        events=(),
        batches=frame.iter_slices(batch_rows) if frame.height else iter(()),
    )


def write(
    rows: ExportRows, name: str, options: Options = ZIPPED
) -> tuple[Written, bytes, list[int]]:
    upload, seen = Upload(), list[int]()
    written = write_export(rows, name, options, cast("BinaryIO", upload), spill, seen.append)
    return written, bytes(upload.data), seen


@pytest.mark.parametrize("name", FORMATS)
def test_each_event_has_the_file_it_would_have_alone(name: str) -> None:
    counts = {3: 17, 20: 0, 100: 25}
    written, data, seen = write(opened(counts), name)
    assert seen == [10, 20, 30, 40, 42]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        names = [f"payments-event-{event}.{FORMATS[name].extension}" for event in counts]
        assert archive.namelist() == names == [entry.name for entry in written.entries]
        for entry, count in zip(written.entries, counts.values(), strict=True):
            frame = payments(counts).filter(event_id=entry.event_id)
            about = (("Event", str(entry.event_id)), ("Providers", "MPESA"))
            alone = replace(
                opened({}),
                description=replace(DESCRIPTION, filters=about),
                totals=totals(frame),
                batches=iter([frame]),
            )
            one, expected, _ = write(alone, name, parse_options(name, {}))
            assert archive.read(entry.name) == expected
            assert entry.result == one.result
            assert entry.result.rows == count
            assert entry.result.sha256 == hashlib.sha256(expected).hexdigest()
    result = written.result
    assert (result.rows, result.parts) == (42, 3)
    assert result.money == totals(payments(counts)).money
    assert (result.bytes, result.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("name", FORMATS)
def test_the_bytes_do_not_depend_on_how_the_rows_arrive(name: str) -> None:
    counts = {1: 30, 2: 1, 5: 60}
    assert write(opened(counts, 7), name)[1] == write(opened(counts, 91), name)[1]


@given(
    counts=st.dictionaries(st.integers(1, 2**63 - 1), st.integers(0, 9), max_size=12),
    batch_rows=st.integers(1, 20),
)
def test_every_row_is_in_the_file_of_its_event_and_in_no_other(
    counts: dict[int, int], batch_rows: int
) -> None:
    rows = opened(counts, batch_rows)
    assert rows.by_event is not None
    frame, parts = payments(counts), []
    for event in split(rows.batches, rows.by_event.items(), DESCRIPTION):
        own = list(event.batches)
        assert all(set(part["event_id"]) == {event.event_id} for part in own)
        parts += own
    assert_frame_equal(pl.concat([frame.clear(), *parts]), frame)
    assert sum(part.height for part in parts) == rows.totals.rows


@pytest.mark.parametrize("counted", [{1: 3, 2: 4}, {1: 3, 3: 3}, {1: 2, 3: 4}, {1: 3}, {1: 7}])
def test_rows_that_were_not_counted_are_refused(counted: dict[int, int]) -> None:
    rows = replace(opened(counted), batches=payments({1: 3, 3: 4}).iter_slices(2))
    upload = Upload()
    with pytest.raises(IncompleteReadError):
        write_export(rows, "csv", ZIPPED, cast("BinaryIO", upload), spill, lambda _: None)
    assert not zipfile.is_zipfile(io.BytesIO(upload.data))


def test_a_file_with_other_sums_than_were_counted_is_refused() -> None:
    rows = opened({1: 3})
    wrong = replace(rows, totals=replace(rows.totals, money={"KES": {"amount": 1}}))
    with pytest.raises(IncompleteReadError, match=r"Payments: .* was counted, .* was written"):
        write(wrong, "csv", parse_options("csv", {}))


def test_an_archive_that_failed_half_way_cannot_be_opened() -> None:
    def broken() -> Iterator[pl.DataFrame]:
        yield payments({1: 5, 2: 5}).head(7)
        raise ConnectionError("the lake is gone")

    upload = Upload()
    rows = replace(opened({1: 5, 2: 5}), batches=broken())
    with pytest.raises(ConnectionError):
        write_export(rows, "pdf", ZIPPED, cast("BinaryIO", upload), spill, lambda _: None)
    assert upload.data
    assert not zipfile.is_zipfile(io.BytesIO(upload.data))


def test_common_tools_open_the_archive_however_large_its_entries_are(tmp_path: Path) -> None:
    """From 20,000 rows an entry has 64-bit sizes, smaller ones do not."""
    written, data, _ = write(opened({1: 20_000, 2: 5}, 16_384), "ndjson")
    path = tmp_path / "events.zip"
    path.write_bytes(data)
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tqq", path], check=True)
    with zipfile.ZipFile(path) as archive:
        versions = [info.extract_version for info in archive.infolist()]
        lines = archive.read(written.entries[0].name).splitlines()
    assert versions == [45, 20]
    assert len(lines) == 20_000
    assert json.loads(lines[-1])["payment_id"] == 20_000
    assert all(one < other for one, other in pairwise(entry.name for entry in written.entries))


def test_rows_that_were_not_opened_by_event_cannot_be_packed_per_event() -> None:
    with pytest.raises(ValueError, match="not opened by event"):
        write(replace(opened({1: 1}), by_event=None), "csv")
