"""Temporary files of formats that must seek: without a name, and only where there is space.

Belongs here: making such a file, checking the space before and while it is written. Does not belong
here: the folders DuckDB spills to (``resources.spill_folders``).

The file has no name from its first moment on, so nothing is left of it however the process ends.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

SpillFactory = Callable[[], AbstractContextManager[BinaryIO]]
"""Gives an empty temporary file that can be read, written and sought, and is gone afterwards."""
RESERVE_BYTES = 64 * 2**20
"""Space that is left to everybody else."""
_CHECK_EVERY_BYTES = 16 * 2**20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DiskSpaceError(RuntimeError):
    """There is too little space for a temporary file; says where, how much, and what to do."""


@contextmanager
def spill(
    directory: Path | None, expected_bytes: int, *, reserve_bytes: int = RESERVE_BYTES
) -> Iterator[BinaryIO]:
    """An empty file to read, write and seek; unbuffered, and gone afterwards.

    Args:
        directory: where; None for the system's folder of temporary files.
        expected_bytes: how large it is likely to become.
        reserve_bytes: free space that must be left beside it.

    Raises:
        DiskSpaceError: there is too little space for it, now or while it is written.
    """
    where = Path(tempfile.gettempdir()) if directory is None else directory
    free = _free(where)
    if free < expected_bytes + reserve_bytes:
        raise DiskSpaceError(
            f"{where}: a temporary file of about {_mib(expected_bytes)} is needed and"
            f" {_mib(reserve_bytes)} must stay free, {_mib(free)} are free; {_ADVICE}"
        )
    with (
        tempfile.TemporaryFile(dir=where, buffering=0) as nameless,
        _Watched(os.dup(nameless.fileno()), where, reserve_bytes) as file,
    ):
        yield cast("BinaryIO", file)


class _Watched(io.FileIO):
    """Writes all or raises, and looks at the free space from time to time."""

    def __init__(self, descriptor: int, where: Path, reserve_bytes: int) -> None:
        super().__init__(descriptor, "r+b")
        self._where, self._reserve = where, reserve_bytes
        self._written = self._unchecked = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        rest = view
        while rest:
            try:
                taken = super().write(rest)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                raise self._full(os.strerror(error.errno)) from error
            rest = rest[taken:]
        self._written += len(view)
        self._unchecked += len(view)
        if self._unchecked >= _CHECK_EVERY_BYTES:
            self._unchecked = 0
            if _free(self._where) < self._reserve:
                raise self._full(f"less than {_mib(self._reserve)} would be left to others")
        return len(view)

    def _full(self, why: str) -> DiskSpaceError:
        return DiskSpaceError(
            f"{self._where}: no space for more of a temporary file of which {_mib(self._written)}"
            f" are written, {_mib(_free(self._where))} are free: {why}; {_ADVICE}"
        )


_ADVICE = (
    "free some, set BOXOFFICE_EXPORTS_SPILL_DIRECTORY to a larger disk, or ask for CSV, JSON or"
    " Parquet, which need no temporary file"
)


def _free(where: Path) -> int:
    return shutil.disk_usage(where).free


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
