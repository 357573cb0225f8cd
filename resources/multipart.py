"""An upload that is written from front to back: its parts leave while the next one is filled.

Belongs here: cutting bytes into parts, sending them in the background, completing and aborting.
Does not belong here: where objects lie and who may delete them (``resources.bucket``).

Every request carries the MD5 of its body, which the store checks before it takes it. Bodies are
not signed on top of that: hashing them twice costs as much as sending them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import BoundedSemaphore, Event
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from resources.s3_requests import BucketError, Requests, error_code
from warehouse.faults import ExportFaultPoint, reached

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_PARTS = 10_000
_PARTS_OF_ONE_SIZE = 1_000
_ABORT_SECONDS = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """How a file is cut.

    Attributes:
        first_bytes: size of the first 1,000 parts, at least 5 MiB; of each further thousand it is
            double, so that 10,000 parts hold 5 TiB, the largest object there is.
        in_flight: full parts that are held at the same time.
        threads: that send them.
    """

    first_bytes: int
    in_flight: int
    threads: int

    def size(self, number: int) -> int:
        """Bytes of a part; the first is number 1."""
        return self.first_bytes << ((number - 1) // _PARTS_OF_ONE_SIZE)


@dataclass(frozen=True)
class _Sent:
    etag: str
    md5: bytes


class Upload(io.RawIOBase):
    """A write-only file object; nothing is at its key before ``complete``."""

    def __init__(
        self,
        client: S3Client,
        requests: Requests,
        address: Mapping[str, str],
        headers: Mapping[str, Any],
        parts: Parts,
    ) -> None:
        """Ask nothing of the store yet.

        Args:
            address: ``Bucket`` and ``Key``.
            headers: further arguments of the object: its type, encryption and so on.
        """
        super().__init__()
        self._client, self._requests = client, requests
        self._address, self._headers = dict(address), dict(headers)
        self._key = address["Key"]
        self._parts = parts
        self._buffer = bytearray()
        self._length = 0
        self._upload_id: str | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._slots = BoundedSemaphore(parts.in_flight)
        self._sent: list[Future[_Sent]] = []
        self._stop = Event()
        self._failure: BaseException | None = None
        self._is_over = self._may_exist = False

    def writable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self._length

    def write(self, data: Any) -> int:
        """Take all of ``data``; waits while too many parts are under way.

        Raises:
            BucketError: a part could not be sent.
        """
        if self._is_over or self.closed:
            raise ValueError("the upload is over")
        view, taken = memoryview(data).cast("B"), 0
        while taken < len(view):
            room = self._parts.size(len(self._sent) + 1) - len(self._buffer)
            self._buffer += view[taken : taken + room]
            taken += min(room, len(view) - taken)
            if taken < len(view) or len(self._buffer) == self._parts.size(len(self._sent) + 1):
                self._send()
        self._length += len(view)
        return len(view)

    def complete(self) -> None:
        """Make the object exist.

        Raises:
            BucketError: it could not be completed; ``abort`` must follow.
        """
        self._is_over = True
        if self._upload_id is None:
            body = bytes(self._buffer)
            self._may_exist = True
            etag, expected = self._put(body), hashlib.md5(body, usedforsecurity=False).hexdigest()
        else:
            if self._buffer:
                self._send()
            sent = self._wait()
            self._may_exist = True
            etag = self._assemble(sent)
            together = hashlib.md5(b"".join(s.md5 for s in sent), usedforsecurity=False)
            expected = f"{together.hexdigest()}-{len(sent)}"
        # Where the ETag is the MD5 it proves the content; a store with keys of its own has another.
        if etag.strip('"') != expected:
            self._check_length()

    def abort(self) -> list[str]:
        """Take everything back; never raises for the store.

        Returns:
            What could not be taken back, in words; the sweep finds it.
        """
        self._is_over = True
        self._stop.set()
        self._end_threads()
        left = []
        try:
            if self._upload_id is not None:
                self._abort_parts(self._upload_id)
            if self._may_exist:
                self._ask("deleting", lambda: self._client.delete_object(**self._target))
        except BucketError as error:
            _log.warning("%s", error)
            left.append(f"left behind until the next sweep: {error}")
        return left

    @property
    def _target(self) -> dict[str, Any]:
        return dict(self._address)

    def _ask(self, what: str, action: Any) -> Any:
        patience = min(_ABORT_SECONDS, self._requests.retry_seconds)
        return self._requests.run(f"{what} {self._key}", action, retry_seconds=patience)

    def _send(self) -> None:
        """Hand the buffer over to a thread."""
        number = len(self._sent) + 1
        if number > MAX_PARTS:
            raise BucketError(
                f"{self._requests.where}: {self._key} is larger than an object may be (5 TiB):"
                " export fewer rows"
            )
        if self._threads is None:
            self._upload_id = self._requests.run(
                f"beginning the upload of {self._key}",
                lambda: self._client.create_multipart_upload(**self._target, **self._headers),
            )["UploadId"]
            self._threads = ThreadPoolExecutor(self._parts.threads, "upload")
        self._slots.acquire()
        if self._failure is not None:
            raise self._failure
        body, self._buffer = self._buffer, bytearray()
        self._sent.append(self._threads.submit(self._send_part, number, body))

    def _send_part(self, number: int, body: bytearray) -> _Sent:
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        try:
            answer = self._requests.run(
                f"uploading part {number} of {self._key}",
                lambda: self._client.upload_part(
                    **self._target,
                    UploadId=self._upload_id or "",
                    PartNumber=number,
                    Body=cast("bytes", body),  # no copy is made of a bytearray on its way
                    ContentMD5=base64.b64encode(digest).decode(),
                ),
                stop=self._stop,
            )
        except BaseException as error:
            self._failure = self._failure or error
            self._stop.set()  # the other parts are of no use any more
            raise
        finally:
            self._slots.release()
        reached(ExportFaultPoint.UPLOADING)
        return _Sent(answer["ETag"], digest)

    def _wait(self) -> list[_Sent]:
        """Until every part is there; raises what went wrong first."""
        if self._threads is not None:
            self._threads.shutdown(wait=True)
        if self._failure is not None:
            raise self._failure
        return [future.result() for future in self._sent]

    def _put(self, body: bytes) -> str:
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        answer = self._requests.run(
            f"uploading {self._key}",
            lambda: self._client.put_object(
                **self._target,
                **self._headers,
                Body=body,
                ContentMD5=base64.b64encode(digest).decode(),
            ),
        )
        return answer["ETag"]

    def _assemble(self, sent: list[_Sent]) -> str:
        tries = 0

        def assemble() -> str:
            nonlocal tries
            tries += 1
            try:
                answer = self._client.complete_multipart_upload(
                    **self._target,
                    UploadId=self._upload_id or "",
                    MultipartUpload={
                        "Parts": [
                            {"PartNumber": number, "ETag": part.etag}
                            for number, part in enumerate(sent, 1)
                        ]
                    },
                )
            except ClientError as error:
                # The answer to a try before was lost; that try did complete it, if it is there.
                if tries > 1 and error_code(error) == "NoSuchUpload" and self._is_there():
                    return ""
                raise
            return answer["ETag"]

        return self._requests.run(f"completing the upload of {self._key}", assemble)

    def _is_there(self) -> bool:
        try:
            return self._client.head_object(**self._target)["ContentLength"] == self._length
        except ClientError:
            return False

    def _check_length(self) -> None:
        there = self._requests.run(
            f"checking {self._key}",
            lambda: self._client.head_object(**self._target)["ContentLength"],
        )
        if there != self._length:
            raise BucketError(
                f"{self._requests.where}: {self._length:,} bytes of {self._key} were uploaded,"
                f" {there:,} are there; the file was removed, start over",
                is_transient=True,
            )

    def _abort_parts(self, upload_id: str) -> None:
        def abort() -> None:
            try:
                self._client.abort_multipart_upload(**self._target, UploadId=upload_id)
            except ClientError as error:
                if error_code(error) != "NoSuchUpload":
                    raise

        self._ask("aborting the upload of", abort)

    def _end_threads(self) -> None:
        # A part still on its way when the upload is aborted could be kept by the store.
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
