"""A ZIP archive of deflated entries with fixed dates, written by ISA-L.

Belongs here: the container of XLSX. Does not belong here: what is in it.

Python's `zipfile` can use no other compressor than zlib, which takes most of the time of a large
workbook. Sizes are patched into each entry's header afterwards, because LibreOffice refuses
archives whose entries only say behind themselves how long they are, so the target must be
seekable.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from isal import isal_zlib

from exports.columns import ExportContentError

_LEVEL = 2
_LIMIT = 2**32 - 2**20
_DATE = 0b0000000_0001_00001  # 1980-01-01, the earliest an archive can say
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")


class Entry:
    """One file inside the archive, being written."""

    def __init__(self, target: BinaryIO) -> None:
        """Deflate into `target` at its present position."""
        self._target = target
        self._deflate = isal_zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
        self.crc = self.size = self.packed = 0

    def write(self, data: bytes | memoryview) -> None:
        """Deflate and write `data`."""
        self.crc = isal_zlib.crc32(data, self.crc)
        self.size += len(data)
        self._put(self._deflate.compress(data))

    def finish(self) -> None:
        """Write what the compressor still holds."""
        self._put(self._deflate.flush())

    def _put(self, packed: bytes) -> None:
        self.packed += len(packed)
        self._target.write(packed)


class Archive:
    """An archive in a seekable file object that is empty and belongs to the caller."""

    def __init__(self, target: BinaryIO) -> None:
        """Begin an archive at the target's start."""
        self._target = target
        self._directory: list[bytes] = []

    @contextmanager
    def entry(self, name: str) -> Iterator[Entry]:
        """Write one entry; one at a time.

        Raises:
            ExportContentError: the archive passes 4 GiB, which readers of XLSX do not accept.
        """
        encoded, start = name.encode(), self._target.tell()
        self._target.write(_LOCAL.pack(b"PK\3\4", 20, 0, 8, 0, _DATE, 0, 0, 0, len(encoded), 0))
        self._target.write(encoded)
        entry = Entry(self._target)
        yield entry
        entry.finish()
        end = self._target.tell()
        if max(end, entry.size) > _LIMIT:
            raise ExportContentError(
                "the workbook passes 4 GiB: export fewer rows or columns, or CSV or Parquet"
            )
        sums = (entry.crc, entry.packed, entry.size)
        self._target.seek(start)
        self._target.write(_LOCAL.pack(b"PK\3\4", 20, 0, 8, 0, _DATE, *sums, len(encoded), 0))
        self._target.seek(end)
        fields = (20, 20, 0, 8, 0, _DATE, *sums, len(encoded), 0, 0, 0, 0, 0, start)
        self._directory.append(_CENTRAL.pack(b"PK\1\2", *fields) + encoded)

    def close(self) -> None:
        """Write the directory, which makes the archive complete."""
        start, directory = self._target.tell(), b"".join(self._directory)
        count = len(self._directory)
        self._target.write(directory)
        self._target.write(_END.pack(b"PK\5\6", 0, 0, count, count, len(directory), start, 0))
