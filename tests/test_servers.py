"""The embedded servers keep data, speak their protocols fully and leave nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import duckdb
import psutil
import psycopg
import pytest
import redis
from boto3.s3.transfer import TransferConfig
from mypy_boto3_s3 import S3Client
from redis.backoff import NoBackoff
from redis.retry import Retry

from local import ports
from local.processes import ProcessRecord, stop_leftovers
from local.provision import provision
from local.servers import (
    EmbeddedPostgres,
    EmbeddedRedis,
    EmbeddedS3,
    EmbeddedServer,
    PortTakenError,
)
from pipelines.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import Servers


@pytest.fixture
def own_postgres(state_root: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(state_root, ports.choose(35432))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3(servers: Servers) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=servers.s3.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=servers.s3.access_key_id,
        aws_secret_access_key=servers.s3.password,
    )


@pytest.fixture
def lake_engine(servers: Servers) -> Iterator[duckdb.DuckDBPyConnection]:
    extension = (
        resources.files("duckdb_extension_httpfs")
        / "extensions"
        / f"v{duckdb.__version__}"
        / "httpfs.duckdb_extension"
    )
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{extension}'")
        connection.execute(
            f"""CREATE SECRET (TYPE s3, KEY_ID '{servers.s3.access_key_id}',
            SECRET '{servers.s3.password}', ENDPOINT '127.0.0.1:{servers.s3.port}',
            USE_SSL false, URL_STYLE 'path', REGION 'us-east-1')"""
        )
        yield connection


def test_postgres_keeps_data_over_a_stop_and_a_start(own_postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(own_postgres.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    own_postgres.stop()
    assert not own_postgres.is_healthy()
    own_postgres.start()
    with psycopg.connect(own_postgres.url()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_postgres_starts_again_after_a_crash_with_what_was_committed(
    own_postgres: EmbeddedPostgres,
) -> None:
    with psycopg.connect(own_postgres.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    crash(own_postgres)
    assert (own_postgres.data_directory / "postmaster.pid").exists()
    own_postgres.start()
    with psycopg.connect(own_postgres.url()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_postgres_starts_although_the_pid_in_its_lock_file_was_reused(
    own_postgres: EmbeddedPostgres,
) -> None:
    crash(own_postgres)
    lock = own_postgres.data_directory / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"], user=lock.owner()) as bystander:
        lock.write_text("\n".join([str(bystander.pid), *lock.read_text().splitlines()[1:]]))
        own_postgres.start()
        assert bystander.poll() is None
        bystander.kill()


def test_postgres_demands_its_password(servers: Servers) -> None:
    wrong = servers.postgres.url(password="guess")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_provisioning_twice_gives_the_same_urls_and_all_of_them_work(servers: Servers) -> None:
    again = provision(servers.postgres)
    assert again.items() <= servers.variables.items()
    for name, url in again.items():
        with psycopg.connect(url.replace("+psycopg2", "")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,), name


def test_the_source_reader_reads_tables_made_later_and_writes_none(settings: Settings) -> None:
    assert settings.source_owner_url is not None
    with psycopg.connect(settings.source_owner_url.get_secret_value()) as owner:
        owner.execute("DROP TABLE IF EXISTS made_later")
        owner.execute("CREATE TABLE made_later AS SELECT 1 AS n")
    with psycopg.connect(settings.source_url.get_secret_value()) as reader:
        assert reader.execute("SELECT n FROM made_later").fetchone() == (1,)
        assert reader.execute("SHOW statement_timeout").fetchone() == ("15min",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("INSERT INTO made_later VALUES (2)")
        reader.rollback()
        reader.execute("SET default_transaction_read_only = off")
        reader.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("INSERT INTO made_later VALUES (2)")
    with psycopg.connect(settings.source_owner_url.get_secret_value()) as owner:
        owner.execute("DROP TABLE made_later")


def test_a_role_cannot_connect_to_a_database_that_is_not_its_own(
    settings: Settings, role_url: Callable[[str, str], str]
) -> None:
    foreign = role_url(settings.warehouse_url.get_secret_value(), "boxoffice_source_reader")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(foreign)


def test_an_object_is_listed_read_and_really_deleted(servers: Servers, s3: S3Client) -> None:
    bucket = "boxoffice-exports"
    s3.put_object(Bucket=bucket, Key="round/trip.csv", Body=b"a,b\n1,2\n")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="round/")["Contents"]
    assert [(entry["Key"], entry["Size"]) for entry in listed] == [("round/trip.csv", 8)]
    assert s3.get_object(Bucket=bucket, Key="round/trip.csv")["Body"].read() == b"a,b\n1,2\n"
    s3.delete_object(Bucket=bucket, Key="round/trip.csv")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="round/")
    assert not (servers.s3.data_directory / bucket / "round" / "trip.csv").exists()
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="round/trip.csv")


def test_a_multipart_upload_is_whole_and_an_aborted_one_leaves_nothing(
    servers: Servers, s3: S3Client, tmp_path: Path
) -> None:
    bucket, part = "multipart", 5 * 1024 * 1024
    servers.s3.create_buckets(bucket)
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3 * part + 17))
    config = TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    s3.upload_file(str(file), bucket, "parts.bin", Config=config)
    assert (servers.s3.data_directory / bucket / "parts.bin").read_bytes() == file.read_bytes()

    upload = s3.create_multipart_upload(Bucket=bucket, Key="aborted.bin")["UploadId"]
    s3.upload_part(
        Bucket=bucket, Key="aborted.bin", UploadId=upload, PartNumber=1, Body=b"x" * part
    )
    s3.abort_multipart_upload(Bucket=bucket, Key="aborted.bin", UploadId=upload)
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    s3.delete_object(Bucket=bucket, Key="parts.bin")
    assert list((servers.s3.data_directory / bucket).iterdir()) == []


def test_duckdb_writes_what_duckdb_and_boto3_read_at_once(
    servers: Servers, s3: S3Client, lake_engine: duckdb.DuckDBPyConnection
) -> None:
    # More than one part of DuckDB's multipart upload (80 MB each).
    lake_engine.execute(
        "COPY (SELECT i, md5(i::VARCHAR) AS digest FROM range(3_000_000) AS t(i)) "
        "TO 's3://boxoffice-lake/big.parquet' (COMPRESSION uncompressed)"
    )
    size = (servers.s3.data_directory / "boxoffice-lake" / "big.parquet").stat().st_size
    assert size > 100_000_000
    assert s3.head_object(Bucket="boxoffice-lake", Key="big.parquet")["ContentLength"] == size
    assert lake_engine.execute(
        "SELECT count(*), sum(i) FROM 's3://boxoffice-lake/big.parquet'"
    ).fetchone() == (3_000_000, 4_499_998_500_000)
    s3.delete_object(Bucket="boxoffice-lake", Key="big.parquet")


def test_s3_refuses_a_wrong_secret(servers: Servers) -> None:
    stranger = boto3.client(
        "s3",
        endpoint_url=servers.s3.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=servers.s3.access_key_id,
        aws_secret_access_key="guess",
    )
    with pytest.raises(stranger.exceptions.ClientError, match="SignatureDoesNotMatch"):
        stranger.list_buckets()


def test_redis_keeps_data_over_a_stop_and_a_start(state_root: Path) -> None:
    server = EmbeddedRedis(state_root, ports.choose(36379))
    server.start()
    try:
        redis.Redis.from_url(server.url).set("kept", "42")
        server.stop()
        server.start()
        assert redis.Redis.from_url(server.url).get("kept") == b"42"
    finally:
        server.stop()


def test_redis_demands_its_password(servers: Servers) -> None:
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=servers.redis.port, retry=Retry(NoBackoff(), 0)).ping()


def test_no_secret_shows_in_a_command_line_or_in_a_file_others_can_read(servers: Servers) -> None:
    secrets = {server.password for server in (servers.postgres, servers.s3, servers.redis)}
    for server in (servers.postgres, servers.s3, servers.redis):
        assert server.pid is not None
        command_line = " ".join(psutil.Process(server.pid).cmdline())
        assert not any(secret in command_line for secret in secrets)
    for path in servers.postgres.root.glob("*.*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0, path
    assert (servers.redis.data_directory / "redis.conf").stat().st_mode & 0o077 == 0


def test_a_taken_port_is_named_with_its_holder_and_the_next_one_is_chosen(
    state_root: Path,
) -> None:
    port = ports.choose(37000)
    with socket.create_server((ports.HOST, port)):
        assert ports.choose(port) == port + 1
        assert ports.choose(port, reserved={port + 1}) > port + 1
        with pytest.raises(PortTakenError) as caught:
            EmbeddedRedis(state_root, port).start()
    message = str(caught.value)
    assert str(port) in message
    assert f"pid {os.getpid()}" in message
    assert ports.is_free(port)


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedS3, EmbeddedRedis])
def test_a_server_whose_parent_was_killed_is_found_and_stopped(
    kind: type[EmbeddedServer], state_root: Path
) -> None:
    port = ports.choose(38000)
    script = (
        "import os, pathlib, signal, sys\n"
        f"from local.servers import {kind.__name__} as Server\n"
        f"Server(pathlib.Path(sys.argv[1]), {port}).start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(state_root)], check=False)
    record = ProcessRecord.read(state_root / "pids" / f"{kind.name}.json")
    assert record is not None
    assert record.process() is not None
    assert not ports.is_free(port)

    assert stop_leftovers(state_root) == [kind.name]
    assert record.members() == []
    assert ports.is_free(port)
    assert stop_leftovers(state_root) == []


def test_a_reused_pid_is_not_taken_for_a_leftover(state_root: Path) -> None:
    with subprocess.Popen(["sleep", "60"], process_group=0) as bystander:
        created = psutil.Process(bystander.pid).create_time() - 1000
        record = ProcessRecord("redis", bystander.pid, created, 15)
        record.write(state_root / "pids" / "redis.json")
        assert stop_leftovers(state_root) == []
        assert bystander.poll() is None
        bystander.kill()


def crash(server: EmbeddedServer) -> None:
    assert server.pid is not None
    process = psutil.Process(server.pid)
    process.kill()
    process.wait()
    assert not server.is_running()
