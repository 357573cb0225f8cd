"""The bucket of exported files: uploads that are complete or absent, links, deletion, the sweep.

Belongs here: everything asked of the object store for files of our own, which all lie below
``exports/``. Does not belong here: what keys look like (``exports.naming``), how an upload is cut
into parts (``resources.multipart``), the lake's files (``resources.lake``).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote, urlsplit

from botocore.exceptions import ClientError

from resources.multipart import Parts, Upload
from resources.s3_requests import BucketError, ObjectMissingError, Requests, error_code

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

__all__ = [
    "PREFIX",
    "AbandonedUpload",
    "Bucket",
    "BucketError",
    "ObjectMissingError",
    "StoredObject",
    "content_disposition",
]

PREFIX = "exports/"
"""Every key of ours begins so; nothing else in the bucket is written or deleted."""
LONGEST_LINK = timedelta(minutes=15)
_CHUNK_BYTES = 2**20
_KEY = re.compile(r"exports(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)+")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class StoredObject:
    """An object of the bucket: its key, length in bytes, and when it was written (UTC)."""

    key: str
    size: int
    modified_at: datetime


@dataclass(frozen=True)
class AbandonedUpload:
    """An upload that was never completed, and when it began (UTC)."""

    key: str
    upload_id: str
    began_at: datetime


@dataclass(frozen=True)
class Bucket:
    """Where exported files lie and how to reach them.

    Attributes:
        name: of the bucket.
        endpoint_url: S3 endpoint; None for AWS itself.
        access_key_id: None for the AWS default chain.
        server_side_encryption: of every object: ``AES256``, ``aws:kms``; None for the bucket's own.
        retry_seconds: how long after its first failure a request is repeated.
        timeout_seconds: how long a store that is silent is waited for.
        part_bytes: size of the first parts of a large file, at least 5 MiB.
        parts_in_flight: full parts held in memory at a time; one more is being filled.
        upload_threads: that send the parts of one file.
        page_size: how many keys are listed or deleted at a time; 1,000 at most.
    """

    name: str
    region: str
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    server_side_encryption: str | None = "AES256"
    retry_seconds: float = 45.0
    timeout_seconds: float = 25.0
    part_bytes: int = 8 * 2**20
    parts_in_flight: int = 3
    upload_threads: int = 2
    page_size: int = 1_000

    def __post_init__(self) -> None:
        """Refuse parts that S3 would refuse after minutes of work."""
        if self.part_bytes < 5 * 2**20:
            raise ValueError("part_bytes must be at least 5 MiB (5,242,880)")

    def uri(self, key: str) -> str:
        """The ``s3://`` address of an object."""
        return f"s3://{self.name}/{key}"

    @contextmanager
    def upload(
        self,
        key: str,
        *,
        content_type: str,
        disposition: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Iterator[BinaryIO]:
        """A file object to write from front to back; the object is there after a clean exit only.

        Whatever is raised inside, nothing is left; what cannot be taken back at once because the
        store is gone is noted on the error and removed by ``sweep_uploads``. A file that fits into
        one part is put at once at the end.

        Args:
            disposition: from ``content_disposition``.
            metadata: kept with the object; ASCII.

        Raises:
            BucketError: the store refused, or was gone for longer than ``retry_seconds``.
        """
        headers: dict[str, Any] = {"ContentType": content_type, "Metadata": dict(metadata or {})}
        if disposition is not None:
            headers["ContentDisposition"] = disposition
        if self.server_side_encryption:
            headers["ServerSideEncryption"] = self.server_side_encryption
        upload = Upload(
            self._client,
            self._requests,
            {"Bucket": self.name, "Key": _own(key)},
            headers,
            Parts(self.part_bytes, self.parts_in_flight, self.upload_threads),
        )
        try:
            yield cast("BinaryIO", upload)
            upload.complete()
        except BaseException as error:
            for left in upload.abort():
                error.add_note(left)
            raise

    def upload_file(
        self,
        key: str,
        file: BinaryIO,
        *,
        content_type: str,
        disposition: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Upload a file from its beginning, with the memory of a few parts; see ``upload``."""
        file.seek(0)
        with self.upload(
            key, content_type=content_type, disposition=disposition, metadata=metadata
        ) as target:
            shutil.copyfileobj(file, target, _CHUNK_BYTES)

    def put_bytes(
        self, key: str, data: bytes, *, content_type: str, disposition: str | None = None
    ) -> None:
        """Upload a small object; see ``upload``."""
        with self.upload(key, content_type=content_type, disposition=disposition) as target:
            target.write(data)

    def read_chunks(self, key: str, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[bytes]:
        """The bytes of an object; goes on where it was when the connection breaks.

        Raises:
            ObjectMissingError: there is none.
            BucketError: it cannot be read, or was replaced meanwhile.
        """
        reader = _Reader(self._client, self.name, _own(key))
        while True:
            data = self._requests.run(f"reading {key}", lambda: reader.read(chunk_bytes))
            if not data:
                return
            yield data

    def read_bytes(self, key: str) -> bytes:
        """A small object; see ``read_chunks``."""
        return b"".join(self.read_chunks(key))

    def size(self, key: str) -> int:
        """Length of an object in bytes.

        Raises:
            ObjectMissingError: there is none.
        """
        address: dict[str, Any] = {"Bucket": self.name, "Key": _own(key)}
        head = self._requests.run(f"looking at {key}", lambda: self._client.head_object(**address))
        return head["ContentLength"]

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        try:
            self.size(key)
        except ObjectMissingError:
            return False
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are not there are no error.

        Raises:
            BucketError: a key is not below ``exports/`` (then none is deleted), or the store
                refused some.
        """
        listed = [_own(key) for key in keys]
        for start in range(0, len(listed), self.page_size):
            batch = listed[start : start + self.page_size]
            answer = self._requests.run(
                f"deleting {len(batch)} objects",
                lambda batch=batch: self._client.delete_objects(  # type: ignore[misc]
                    Bucket=self.name,
                    Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True},
                ),
            )
            if refused := answer.get("Errors"):
                first = refused[0]
                raise BucketError(
                    f"{self._where}: {len(refused)} objects could not be deleted, the first"
                    f" {first.get('Key')}: {first.get('Code')} {first.get('Message')}; let the"
                    " access key delete there",
                    is_transient=first.get("Code") in ("InternalError", "SlowDown"),
                )

    def list_keys(self, prefix: str = PREFIX) -> Iterator[str]:
        """Keys of the objects below a prefix of ours, in order."""
        return (found.key for found in self.list_objects(prefix))

    def list_objects(self, prefix: str = PREFIX) -> Iterator[StoredObject]:
        """The objects below a prefix of ours, in order of their keys."""
        if not prefix.startswith(PREFIX):
            raise BucketError(f"{prefix!r} is not below {PREFIX}: it is not looked at")
        token: dict[str, Any] = {}
        while True:
            page = self._requests.run(
                f"listing {prefix}",
                lambda token=token: self._client.list_objects_v2(  # type: ignore[misc]
                    Bucket=self.name, Prefix=prefix, MaxKeys=self.page_size, **token
                ),
            )
            for found in page.get("Contents", []):
                at = found["LastModified"].astimezone(UTC)
                yield StoredObject(found["Key"], found["Size"], at)
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def presign(
        self,
        key: str,
        expires: timedelta = LONGEST_LINK,
        *,
        file_name: str | None = None,
        content_type: str | None = None,
    ) -> str:
        """A link that downloads an object without further credentials; asks nothing of the store.

        Args:
            expires: at most 15 minutes.
            file_name: what browsers save it as; None for the last part of the key.
            content_type: sent with the file, instead of the one that is stored.

        Raises:
            ValueError: the link would be valid for longer, or for no time at all.
            BucketError: the key or the name is not one of ours.
        """
        seconds = expires.total_seconds()
        if not 1 <= seconds <= LONGEST_LINK.total_seconds():
            raise ValueError(f"a link is valid for 1 second to 15 minutes, not {seconds:g} seconds")
        own = _own(key)
        parameters = {
            "Bucket": self.name,
            "Key": own,
            "ResponseContentDisposition": content_disposition(file_name or own.rsplit("/", 1)[1]),
        }
        if content_type is not None:
            parameters["ResponseContentType"] = content_type
        return self._client.generate_presigned_url(
            "get_object", Params=parameters, ExpiresIn=int(seconds)
        )

    def open_uploads(self) -> list[AbandonedUpload]:
        """Every upload below ``exports/`` that is not completed, of running attempts too."""
        found: dict[str, AbandonedUpload] = {}
        marker: dict[str, Any] = {}
        while True:
            before = len(found)
            page = self._uploads_page(marker)
            for upload in page.get("Uploads", []):
                began = upload["Initiated"].astimezone(UTC)
                entry = AbandonedUpload(upload["Key"], upload["UploadId"], began)
                found[entry.upload_id] = entry
            if not page.get("IsTruncated") or len(found) == before:
                return [upload for upload in found.values() if upload.key.startswith(PREFIX)]
            marker = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def sweep_uploads(
        self, is_abandoned: Callable[[str], bool], older_than: timedelta = timedelta(0)
    ) -> list[AbandonedUpload]:
        """Abort uploads below ``exports/`` that nobody will complete.

        Args:
            is_abandoned: whether nobody works on a key any more; asked for every upload.
            older_than: age below which an upload is left alone whatever its key.

        Returns:
            Those that were aborted.
        """
        before, aborted = datetime.now(UTC) - older_than, []
        for upload in self.open_uploads():
            if upload.began_at <= before and is_abandoned(upload.key):
                self._requests.run(
                    f"aborting the upload of {upload.key}",
                    lambda upload=upload: self._abort(upload),  # type: ignore[misc]
                )
                aborted.append(upload)
        return aborted

    def _uploads_page(self, marker: Mapping[str, Any]) -> Mapping[str, Any]:
        def ask() -> Mapping[str, Any]:
            try:
                return self._client.list_multipart_uploads(
                    Bucket=self.name, Prefix=PREFIX, MaxUploads=self.page_size, **marker
                )
            except ClientError as error:
                # So rclone answers while a bucket has never had an upload.
                if error_code(error) == "NoSuchUpload":
                    return {}
                raise

        return self._requests.run("listing open uploads", ask)

    def _abort(self, upload: AbandonedUpload) -> None:
        try:
            self._client.abort_multipart_upload(
                Bucket=self.name, Key=upload.key, UploadId=upload.upload_id
            )
        except ClientError as error:
            if error_code(error) != "NoSuchUpload":  # completed or aborted meanwhile
                raise

    @property
    def _where(self) -> str:
        endpoint = urlsplit(self.endpoint_url or "")
        at = f"{endpoint.hostname}:{endpoint.port}" if endpoint.port else endpoint.hostname
        return f"bucket {self.name} at {at or f'AWS ({self.region})'}"

    @property
    def _requests(self) -> Requests:
        return Requests(self._where, self.retry_seconds)

    @property
    def _client(self) -> S3Client:
        return _client(
            self.endpoint_url,
            self.region,
            self.access_key_id,
            self.secret_access_key,
            self.timeout_seconds,
        )


@lru_cache(maxsize=16)
def _client(
    endpoint_url: str | None,
    region: str,
    access_key_id: str | None,
    secret_access_key: str | None,
    timeout_seconds: float,
) -> S3Client:
    """Made once, on first use: it takes half a second. Clients may be shared by threads."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        config=Config(
            signature_version="s3v4",
            connect_timeout=min(5.0, timeout_seconds),
            read_timeout=timeout_seconds,
            retries={"total_max_attempts": 1},
            max_pool_connections=10,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "payload_signing_enabled": False,  # see resources.multipart
                "addressing_style": "path" if endpoint_url else "auto",
            },
        ),
    )


class _Reader:
    """Reads an object from front to back; after an error, ``read`` goes on at the same byte."""

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        self._client = client
        self._address: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self._body: StreamingBody | None = None
        self._etag = ""
        self._at, self._length = 0, -1

    def read(self, count: int) -> bytes:
        if self._at == self._length:
            return b""
        body = self._body or self._open()
        try:
            data = body.read(count)
        except BaseException:
            self._body = None
            body.close()
            raise
        self._at += len(data)
        return data

    def _open(self) -> StreamingBody:
        part: dict[str, Any] = {"Range": f"bytes={self._at}-"} if self._at else {}
        answer = self._client.get_object(**self._address, **part)
        if self._length < 0:
            self._length, self._etag = answer["ContentLength"], answer["ETag"]
        elif answer["ETag"] != self._etag:
            raise BucketError(f"{self._address['Key']} was replaced while it was read; start over")
        self._body = answer["Body"]
        return self._body


def content_disposition(file_name: str) -> str:
    """Header by which browsers save a file under a name, as RFC 6266 has it.

    Raises:
        BucketError: the name is not made of ASCII letters, digits, points, dashes and underscores.
    """
    if not _FILE_NAME.fullmatch(file_name):
        raise BucketError(
            f"{file_name!r} cannot be a file name: it has 1 to 200 ASCII letters, digits, points,"
            " dashes and underscores, and begins with a letter or digit"
        )
    return f"attachment; filename=\"{file_name}\"; filename*=UTF-8''{quote(file_name)}"


def _own(key: str) -> str:
    """The key, if it is one of ours."""
    if len(key) > 900 or not _KEY.fullmatch(key):
        raise BucketError(
            f"{key!r} is not a key below {PREFIX} as this project makes them: it is neither read,"
            " written nor deleted"
        )
    return key
