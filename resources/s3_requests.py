"""Requests to the object store: repeated while that can help, then refused in clear words.

Belongs here: which failures are transient, how long they are retried, what an error says. Does not
belong here: what is asked for (``resources.bucket``, ``resources.multipart``).

Retried here and not by boto3, whose waits are drawn at random from nothing upwards: whether a
store that is gone for half a minute is survived must not be a matter of luck.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, of every connection that fails
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)
from botocore.parsers import ResponseParserError

T = TypeVar("T")

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0
_CONNECTION = (ConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError)
_TRANSIENT_CODES = {"BadDigest", "RequestTimeout", "SlowDown", "Throttling", "ThrottlingException"}
_MISSING = {"404", "NoSuchKey", "NotFound"}
_ADVICE = {
    "NoSuchBucket": "create the bucket, or set BOXOFFICE_EXPORTS_BUCKET to the right one",
    "AccessDenied": "let the access key read, write, list and delete there",
    "403": "let the access key read, write, list and delete there",
    "InvalidAccessKeyId": "set BOXOFFICE_S3_ACCESS_KEY_ID and BOXOFFICE_S3_SECRET_ACCESS_KEY",
    "SignatureDoesNotMatch": "set BOXOFFICE_S3_ACCESS_KEY_ID and BOXOFFICE_S3_SECRET_ACCESS_KEY",
    "NoSuchUpload": "the store has forgotten the upload: it was restarted, or the upload was swept"
    " as abandoned; start over",
}
_UNREACHABLE = (
    "see that the store runs and is reached at BOXOFFICE_S3_ENDPOINT_URL, then start over"
)
_UNWELL = "see the store's log, and whether its disk is full, then start over"


class BucketError(RuntimeError):
    """The object store did not do what was asked; says what, where and what to do.

    Attributes:
        is_transient: the same may succeed later.
    """

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        """Say what is wrong."""
        super().__init__(message)
        self.is_transient = is_transient


class ObjectMissingError(BucketError):
    """There is no object at a key."""


@dataclass(frozen=True)
class Requests:
    """How requests are made.

    Attributes:
        where: the bucket and its endpoint, for messages.
        retry_seconds: how long after its first failure a request is repeated.
    """

    where: str
    retry_seconds: float

    def run(
        self,
        what: str,
        action: Callable[[], T],
        *,
        stop: Event | None = None,
        retry_seconds: float | None = None,
    ) -> T:
        """Do something, again and again while its failures are transient.

        Args:
            what: for messages: "uploading part 3 of exports/...".
            stop: set when the result is no longer wanted.
            retry_seconds: instead of the usual.

        Raises:
            ObjectMissingError: there is nothing at the key.
            BucketError: any other failure.
        """
        patience = self.retry_seconds if retry_seconds is None else retry_seconds
        stop = stop or Event()
        failures, since = 0, 0.0
        while True:
            try:
                return action()
            except (BotoCoreError, ClientError, ResponseParserError) as error:
                since = since or time.monotonic()
                failures += 1
                left = since + patience - time.monotonic()
                if not is_transient(error) or left <= 0:
                    raise self.error(what, error, failures) from error
                longest = min(_LONGEST_WAIT, patience / 8)
                # Half of it at random, so that parts that failed together do not return together.
                wait = min(_FIRST_WAIT * 2 ** (failures - 1), longest) * random.uniform(0.5, 1)  # noqa: S311
                if stop.wait(min(wait, left)):
                    raise self.error(what, error, failures) from error

    def error(self, what: str, error: Exception, failures: int = 1) -> BucketError:
        """A failure in words; neither keys nor signatures are among them."""
        code = error_code(error)
        if code in _MISSING:
            return ObjectMissingError(f"{self.where}: {what}: there is no such object")
        times = f" ({failures} times)" if failures > 1 else ""
        transient = is_transient(error)
        advice = _ADVICE.get(code, _UNWELL if code else _UNREACHABLE)
        if isinstance(error, NoCredentialsError):
            advice = _ADVICE["SignatureDoesNotMatch"]
        said = str(error).rstrip(".")
        if isinstance(error, ClientError):
            said = f"{code} {error.response['Error'].get('Message', '')}".strip()
        return BucketError(
            f"{self.where}: {what} failed{times}: {said}; {advice}",
            is_transient=transient or code == "NoSuchUpload",
        )


def error_code(error: BaseException) -> str:
    """The store's code of an error, such as ``NoSuchKey``; empty where it gave none."""
    return str(error.response["Error"].get("Code", "")) if isinstance(error, ClientError) else ""


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status in (408, 429) or error_code(error) in _TRANSIENT_CODES
    return isinstance(error, _CONNECTION)
