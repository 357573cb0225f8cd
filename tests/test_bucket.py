"""Files in the bucket are complete or absent, whatever becomes of the store, network or process."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local import ports
from local.servers import EmbeddedS3
from resources.bucket import (
    Bucket,
    BucketError,
    ObjectMissingError,
    content_disposition,
)
from tests.conftest import Servers
from tests.faulty_s3 import Fault, FaultyS3

PART = 5 * 2**20
DATA = os.urandom(2**20) * 12
KEY = "exports/2026-01-01/admin/6f9c0c2e-0000-4000-8000-000000000001/1/orders.csv"
CSV = "text/csv; charset=utf-8"


def begins(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("?uploads")


def sends_part(method: str, path: str) -> bool:
    return method == "PUT" and "partNumber=" in path


def completes(method: str, path: str) -> bool:
    return method == "POST" and "uploadId=" in path


def puts(method: str, path: str) -> bool:
    return method == "PUT" and "?" not in path


def gets(method: str, path: str) -> bool:
    return method == "GET" and path.endswith(".csv")


@pytest.fixture(scope="module")
def name(servers: Servers) -> str:
    servers.s3.create_buckets("test-bucket")
    return "test-bucket"


@pytest.fixture
def bucket(servers: Servers, name: str) -> Iterator[Bucket]:
    """The bucket without a proxy; emptied afterwards."""
    bucket = Bucket(
        name=name,
        region="us-east-1",
        endpoint_url=servers.s3.endpoint_url,
        access_key_id=servers.s3.access_key_id,
        secret_access_key=servers.s3.password,
        part_bytes=PART,
        retry_seconds=5.0,
    )
    yield bucket
    bucket.sweep_uploads(lambda _: True)
    bucket.delete(list(bucket.list_keys()))


@pytest.fixture
def faulty(servers: Servers) -> Iterator[FaultyS3]:
    with FaultyS3(servers.s3.endpoint_url).running() as proxy:
        yield proxy


@pytest.fixture
def through(bucket: Bucket, faulty: FaultyS3) -> Bucket:
    """The same bucket behind the faulty proxy."""
    return replace(bucket, endpoint_url=faulty.url)


def write(bucket: Bucket, data: bytes = DATA, key: str = KEY) -> None:
    with bucket.upload(key, content_type=CSV) as target:
        for start in range(0, len(data), 2**20):
            target.write(data[start : start + 2**20])


def is_absent(bucket: Bucket, key: str = KEY) -> bool:
    return not bucket.exists(key) and bucket.open_uploads() == []


def temporary_files(servers: Servers) -> list[Path]:
    return list(servers.s3.data_directory.rglob(".rclone_temp*"))


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that in time"
        time.sleep(0.01)


def test_a_large_file_arrives_whole_with_its_headers(bucket: Bucket) -> None:
    with bucket.upload(
        KEY,
        content_type=CSV,
        disposition=content_disposition("orders.csv"),
        metadata={"attempt": "1"},
    ) as target:
        assert not target.seekable()
        for start in range(0, len(DATA), 100_003):
            target.write(DATA[start : start + 100_003])
            assert not bucket.exists(KEY) or start > len(DATA)
        assert target.tell() == len(DATA)
        assert len(bucket.open_uploads()) == 1
    assert bucket.read_bytes(KEY) == DATA
    assert bucket.size(KEY) == len(DATA)
    head: Any = bucket._client.head_object(Bucket=bucket.name, Key=KEY)
    assert head["ContentType"] == CSV
    assert head["ContentDisposition"].startswith('attachment; filename="orders.csv"')
    assert head["ServerSideEncryption"] == "AES256"
    assert {k.lower(): v for k, v in head["Metadata"].items()} == {"attempt": "1"}
    assert bucket.open_uploads() == []


@pytest.mark.parametrize("length", [0, 1, PART - 1, PART, PART + 1, 2 * PART])
def test_every_length_arrives_whole(bucket: Bucket, length: int) -> None:
    write(bucket, DATA[:length])
    assert bucket.read_bytes(KEY) == DATA[:length]


def test_a_small_file_is_one_request(through: Bucket, faulty: FaultyS3) -> None:
    write(through, b"small")
    assert [request.split()[0] for request in faulty.seen] == ["PUT"]


def test_a_temporary_file_is_uploaded_from_its_beginning(bucket: Bucket) -> None:
    file = io.BytesIO(DATA)
    file.seek(0, io.SEEK_END)
    bucket.upload_file(KEY, file, content_type=CSV)
    assert bucket.read_bytes(KEY) == DATA


@pytest.mark.parametrize("error", [RuntimeError("rendering"), KeyboardInterrupt()])
@pytest.mark.parametrize("length", [10, len(DATA)])
def test_nothing_is_left_of_a_file_whose_producer_raises(
    bucket: Bucket, servers: Servers, error: BaseException, length: int
) -> None:
    def produce() -> None:
        with bucket.upload(KEY, content_type=CSV) as target:
            target.write(DATA[:length])
            raise error

    with pytest.raises(type(error)) as raised:
        produce()
    assert raised.value is error
    assert is_absent(bucket)
    assert temporary_files(servers) == []


def test_an_older_object_survives_an_upload_that_fails(bucket: Bucket) -> None:
    write(bucket, b"older")

    def produce() -> None:
        with bucket.upload(KEY, content_type=CSV) as target:
            target.write(DATA)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        produce()
    assert bucket.read_bytes(KEY) == b"older"


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.CUT_REQUEST, Fault.LOST_ANSWER])
@pytest.mark.parametrize("applies", [begins, sends_part, completes])
def test_transient_failures_are_survived(
    through: Bucket, faulty: FaultyS3, fault: Fault, applies: Callable[[str, str], bool]
) -> None:
    rule = faulty.fail(fault, applies, times=2)
    write(through)
    assert rule.met >= 1
    assert hashlib.sha256(through.read_bytes(KEY)).digest() == hashlib.sha256(DATA).digest()


@pytest.mark.parametrize("fault", list(Fault))
def test_a_single_put_survives_transient_failures(
    through: Bucket, faulty: FaultyS3, fault: Fault
) -> None:
    rule = faulty.fail(fault, puts, times=2)
    write(through, b"small")
    assert rule.met >= 1
    assert through.read_bytes(KEY) == b"small"


def test_a_part_that_was_altered_on_the_way_never_becomes_a_file(
    through: Bucket, faulty: FaultyS3
) -> None:
    # rclone, which has written the first part by then, gives the whole upload up; AWS takes the
    # part when it is sent again.
    faulty.fail(
        Fault.ALTERED, lambda _, path: path.endswith("partNumber=1") or "partNumber=1&" in path
    )
    with pytest.raises(BucketError) as raised:
        write(replace(through, retry_seconds=0.5))
    assert raised.value.is_transient
    assert is_absent(through)


def test_a_store_that_is_gone_for_seconds_is_waited_for_and_nothing_is_made_twice(
    through: Bucket, faulty: FaultyS3
) -> None:
    gone, back, made = threading.Event(), threading.Event(), []

    def outage() -> None:
        faulty.stop()
        gone.set()
        time.sleep(4)
        faulty.start()
        back.set()

    with replace(through, retry_seconds=30).upload(KEY, content_type=CSV) as target:
        for number in range(12):
            if number == 7:
                threading.Thread(target=outage).start()
                assert gone.wait(10)
            target.write(DATA[number * 2**20 : (number + 1) * 2**20])
            made.append(number)
    assert back.is_set()
    assert made == list(range(12))
    assert through.read_bytes(KEY) == DATA


def test_a_store_that_stays_gone_ends_in_a_clear_error_and_the_sweep_cleans_up(
    through: Bucket, bucket: Bucket, faulty: FaultyS3, servers: Servers
) -> None:
    impatient = replace(through, retry_seconds=0.5)

    def produce() -> None:
        with impatient.upload(KEY, content_type=CSV) as target:
            target.write(DATA[: PART + 1])
            wait_until(lambda: bool(bucket.open_uploads()))
            faulty.stop()
            for _ in range(3):
                target.write(DATA)

    with pytest.raises(BucketError, match="BOXOFFICE_S3_ENDPOINT_URL") as raised:
        produce()
    assert raised.value.is_transient
    assert str(faulty.port) in str(raised.value)
    assert servers.s3.password not in str(raised.value)
    assert any("until the next sweep" in note for note in raised.value.__notes__)
    assert not bucket.exists(KEY)
    assert [upload.key for upload in bucket.sweep_uploads(lambda key: key == KEY)] == [KEY]
    assert is_absent(bucket)
    assert temporary_files(servers) == []


@pytest.mark.parametrize("applies", [begins, sends_part, completes])
def test_a_store_that_always_answers_500_leaves_nothing(
    through: Bucket, faulty: FaultyS3, applies: Callable[[str, str], bool]
) -> None:
    faulty.fail(Fault.ERROR, applies, times=10_000)
    with pytest.raises(BucketError, match="times"):
        write(replace(through, retry_seconds=0.3))
    assert is_absent(through)


def test_a_completion_whose_answers_are_all_lost_leaves_no_file_behind_the_error(
    through: Bucket, faulty: FaultyS3
) -> None:
    faulty.fail(Fault.LOST_ANSWER, completes, times=10_000)
    faulty.fail(Fault.ERROR, lambda method, _: method == "HEAD", times=3)
    with pytest.raises(BucketError):
        write(replace(through, retry_seconds=0.0))
    assert is_absent(through)


def test_a_producer_faster_than_the_store_waits(through: Bucket, faulty: FaultyS3) -> None:
    """Memory holds three full parts and the one being filled, however large the file."""
    faulty.gate.clear()
    written = 0

    def produce() -> None:
        nonlocal written
        with through.upload(KEY, content_type=CSV) as target:
            for number in range(36):
                target.write(DATA[: 2**20] if number % 2 else DATA[2**20 : 2 * 2**20])
                written += 1

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        wait_until(lambda: written >= 4)
        faulty.gate.set()
        wait_until(lambda: any("partNumber=1" in request for request in faulty.seen))
        faulty.gate.clear()
        wait_until(lambda: sum("partNumber=" in request for request in faulty.seen) >= 2)
        time.sleep(0.3)
        through_parts = sum("partNumber=" in request for request in faulty.seen)
        assert written * 2**20 <= (through_parts + 3) * PART
    finally:
        faulty.gate.set()
        producer.join(30)
    assert through.size(KEY) == 36 * 2**20


_KILLED = """
import os, sys, time
from resources.bucket import Bucket
bucket = Bucket(name=sys.argv[1], region="us-east-1", endpoint_url=sys.argv[2],
    access_key_id=sys.argv[3], secret_access_key=os.environ["SECRET"], part_bytes=5 * 2**20)
with bucket.upload(sys.argv[4], content_type="text/csv") as target:
    target.write(bytes(12 * 2**20))
    print("written", flush=True)
    time.sleep(600)
"""


def test_a_killed_process_leaves_no_file_and_the_sweep_removes_its_upload(
    bucket: Bucket, servers: Servers
) -> None:
    addressed = (bucket.name, str(bucket.endpoint_url), servers.s3.access_key_id)
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, *addressed, KEY],
        env={**os.environ, "SECRET": servers.s3.password},
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    wait_until(lambda: bool(temporary_files(servers)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not bucket.exists(KEY)
    assert [upload.key for upload in bucket.open_uploads()] == [KEY]
    assert len(bucket.sweep_uploads(lambda key: key == KEY)) == 1
    assert is_absent(bucket)
    wait_until(lambda: temporary_files(servers) == [])


def test_the_sweep_leaves_live_young_and_foreign_uploads_alone(bucket: Bucket) -> None:
    client: Any = bucket._client
    keys = [KEY.replace("/1/", f"/{attempt}/") for attempt in range(1, 6)]
    for key in keys:
        client.create_multipart_upload(Bucket=bucket.name, Key=key)
    foreign = client.create_multipart_upload(Bucket=bucket.name, Key="lake/x.parquet")
    paged = replace(bucket, page_size=2)
    assert sorted(upload.key for upload in paged.open_uploads()) == keys
    assert paged.sweep_uploads(lambda _: True, timedelta(hours=1)) == []
    swept = paged.sweep_uploads(lambda key: key != keys[3])
    assert sorted(upload.key for upload in swept) == keys[:3] + keys[4:]
    assert [upload.key for upload in paged.open_uploads()] == [keys[3]]
    client.abort_multipart_upload(
        Bucket=bucket.name, Key="lake/x.parquet", UploadId=foreign["UploadId"]
    )


def test_an_upload_a_restarted_store_has_forgotten_is_to_be_started_over(
    bucket: Bucket, tmp_path: Path
) -> None:
    """The embedded store keeps open uploads in memory only; AWS does not forget them."""
    store = EmbeddedS3(tmp_path, ports.choose(29500))
    store.start()
    try:
        store.create_buckets(bucket.name)
        there = replace(bucket, endpoint_url=store.endpoint_url, secret_access_key=store.password)

        def produce() -> None:
            with there.upload(KEY, content_type=CSV) as target:
                target.write(DATA[: 2 * PART])
                wait_until(lambda: bool(there.open_uploads()))
                os.kill(store.pid or 0, signal.SIGKILL)
                wait_until(lambda: not store.is_running())
                store.start()
                target.write(DATA)

        with pytest.raises(BucketError, match="start over") as raised:
            produce()
        assert raised.value.is_transient
        assert is_absent(there)
    finally:
        store.stop()


@pytest.mark.parametrize(
    "key",
    [
        "lake/x.parquet",
        "exports",
        "exports/",
        "/exports/x",
        "exports/../lake/x.parquet",
        "exports/./x",
        "exports//x",
        "exports/x/",
        "exportsx/y",
        "exports/a b",
        "exports/a\n",
    ],
)
def test_keys_that_are_not_ours_are_never_touched(bucket: Bucket, key: str) -> None:
    write(bucket, b"ours")
    refused = pytest.raises(BucketError, match="not a key below")
    with refused:
        bucket.delete([KEY, key])
    assert bucket.read_bytes(KEY) == b"ours"
    with refused, bucket.upload(key, content_type=CSV):
        pass
    with pytest.raises(BucketError, match="not a key below"):
        bucket.presign(key)
    with pytest.raises(BucketError, match="not a key below"):
        bucket.read_bytes(key)


def test_objects_are_listed_and_deleted_page_by_page(bucket: Bucket) -> None:
    paged = replace(bucket, page_size=2)
    keys = [KEY.replace("/1/", f"/{attempt}/") for attempt in range(1, 6)]
    for key in keys:
        write(paged, b"x", key)
    assert list(paged.list_keys()) == keys
    assert [found.size for found in paged.list_objects("exports/2026-01-01/")] == [1] * 5
    paged.delete([*keys, KEY.replace("/1/", "/99/")])
    assert list(paged.list_keys()) == []
    with pytest.raises(BucketError, match="below"):
        list(bucket.list_keys("lake/"))


def test_a_missing_object_is_said_to_be_missing(bucket: Bucket) -> None:
    with pytest.raises(ObjectMissingError, match=KEY):
        bucket.read_bytes(KEY)
    with pytest.raises(ObjectMissingError, match=KEY):
        bucket.size(KEY)


def test_reading_goes_on_where_the_connection_broke(through: Bucket, faulty: FaultyS3) -> None:
    write(through)
    rule = faulty.fail(Fault.CUT_ANSWER, gets, times=2)
    assert through.read_bytes(KEY) == DATA
    assert rule.met == 2


def test_a_link_downloads_the_file_for_a_quarter_of_an_hour_at_most(bucket: Bucket) -> None:
    write(bucket, DATA[:1000])
    for wrong in (timedelta(minutes=15, seconds=1), timedelta(0), timedelta(days=7)):
        with pytest.raises(ValueError, match="15 minutes"):
            bucket.presign(KEY, wrong)
    link = bucket.presign(KEY, content_type="text/csv", file_name="orders-2026.csv")
    assert "X-Amz-Expires=900" in link
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in link
    assert str(bucket.secret_access_key) not in link
    with urllib.request.urlopen(link) as answer:  # noqa: S310 - ours
        assert answer.read() == DATA[:1000]
        assert answer.headers["Content-Disposition"] == content_disposition("orders-2026.csv")
        assert answer.headers["Content-Type"] == "text/csv"
    for altered in (link.replace("orders.csv", "other.csv"), link[:-4] + "0000"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(altered)  # noqa: S310
    short = bucket.presign(KEY, timedelta(seconds=1))

    def is_over() -> bool:
        try:
            urllib.request.urlopen(short).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            return error.code in (400, 403)  # rclone: 400 with AccessDenied
        return False

    wait_until(is_over, 5)


@pytest.mark.parametrize(
    "file_name", ["", ".htaccess", "a b.csv", 'a".csv', "a\r\nX: y.csv", "../a.csv", "naïve.csv"]
)
def test_file_names_that_could_mean_something_else_are_refused(file_name: str) -> None:
    with pytest.raises(BucketError, match="cannot be a file name"):
        content_disposition(file_name)


def test_a_file_name_is_given_twice_as_rfc_6266_has_it() -> None:
    assert content_disposition("orders-2026.csv") == (
        "attachment; filename=\"orders-2026.csv\"; filename*=UTF-8''orders-2026.csv"
    )


def test_what_cannot_help_is_not_repeated_and_errors_name_no_secret(
    bucket: Bucket, servers: Servers
) -> None:
    patient = replace(bucket, retry_seconds=60)
    began = time.monotonic()
    for wrong, advice in (
        (replace(patient, name="no-such-bucket"), "BOXOFFICE_EXPORTS_BUCKET"),
        (replace(patient, secret_access_key="wrong"), "BOXOFFICE_S3_SECRET_ACCESS_KEY"),
        (replace(patient, access_key_id="nobody"), "BOXOFFICE_S3_ACCESS_KEY_ID"),
    ):
        with pytest.raises(BucketError, match=advice) as raised:
            write(wrong, b"x")
        assert not raised.value.is_transient
        for secret in (servers.s3.password, "wrong"):
            assert secret not in str(raised.value)
            assert secret not in repr(wrong)
    assert time.monotonic() - began < 20
