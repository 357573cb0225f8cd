"""Keeping a job while it is worked on: the lease is renewed and progress told, in a thread.

Belongs here: when to renew, and stopping the work once the job is cancelled or lost. Does not
belong here: what a lease is (``warehouse.export_jobs``), or the work (``exports.attempt``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Self

import psycopg

from warehouse.export_jobs import Lease, LeaseLostError, renew_lease

Connect = Callable[[], AbstractContextManager[psycopg.Connection[Any]]]
"""Opens a connection to the warehouse as its publisher."""


class Heartbeat:
    """Renews a lease until the work is done.

    ``counted``, ``wrote`` and ``check`` raise what ended the lease: ``CancelRequestedError`` or
    ``LeaseLostError``. A warehouse that cannot be reached ends it only when the lease has run out.
    """

    def __init__(
        self, connect: Connect, lease: Lease, duration: timedelta, every: timedelta
    ) -> None:
        """Renew ``lease``, which was given for ``duration``, that often."""
        self._connect = connect
        self._lease = lease
        self._duration = duration
        self._every = every.total_seconds()
        self._rows_total: int | None = None
        self._rows_written: int | None = None
        self._ended: Exception | None = None
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease-{lease.job_id}")

    def __enter__(self) -> Self:
        """Begin renewing."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop renewing."""
        self._stopped.set()
        self._wake.set()
        self._thread.join()

    def counted(self, rows: int) -> None:
        """The rows are counted; told at once."""
        self._rows_total = rows
        self._wake.set()
        self.check()

    def wrote(self, rows: int) -> None:
        """So many rows are written."""
        self._rows_written = rows
        self.check()

    def check(self) -> None:
        """Whether the work may go on."""
        if self._ended is not None:
            raise self._ended

    def _renew(self) -> None:
        kept_until = time.monotonic() + self._duration.total_seconds()
        while not self._stopped.is_set() and self._ended is None:
            asked_at = time.monotonic()
            try:
                with self._connect() as connection:
                    while not self._stopped.is_set():
                        asked_at = time.monotonic()
                        self._tell(connection)
                        kept_until = asked_at + self._duration.total_seconds()
                        self._pause()
            except psycopg.OperationalError as error:
                if time.monotonic() >= kept_until:
                    self._ended = LeaseLostError(
                        f"the warehouse could not be reached while the lease lasted: {error}"
                    )
                    return
                self._pause()
            except Exception as error:  # the work is told, whatever it is
                self._ended = error

    def _tell(self, connection: psycopg.Connection[Any]) -> None:
        total, written = self._rows_total, self._rows_written
        if total is not None and written is not None:
            written = min(written, total)  # too many are reported by whoever reads them
        renew_lease(
            connection,
            self._lease,
            self._duration,
            rows_total=total,
            rows_written=None if total is None else written,
        )

    def _pause(self) -> None:
        self._wake.wait(self._every)
        self._wake.clear()
