"""Folders that DuckDB spills to: each is locked while in use, so that one left behind is known.

Belongs here: making, locking and sweeping them. Does not belong here: sessions
(``resources.lake``), temporary files of exports (``exports.spill``).

A process that is killed cannot remove its folder, but the system drops its lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "boxoffice-spill-"
_LOCK = "in-use.lock"


@contextmanager
def spill_folder(directory: str | Path | None = None) -> Iterator[Path]:
    """A new folder, removed at the end.

    Args:
        directory: where; None for the system's folder of temporary files.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
        with suppress(FileNotFoundError):  # a sweep removed it already: another one
            lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            if _take(lock, folder):
                break
            os.close(lock)
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def sweep_spill_folders(directory: str | Path | None = None) -> list[Path]:
    """Remove the folders whose process is gone; those in use, and other people's, stay.

    Returns:
        The folders that were removed.
    """
    where, removed = Path(directory or tempfile.gettempdir()), []
    for folder in sorted(where.glob(f"{_PREFIX}*")):
        with suppress(FileNotFoundError):  # somebody else removed it
            about = folder.stat(follow_symlinks=False)
            if folder.is_symlink() or not folder.is_dir() or about.st_uid != os.getuid():
                continue
            if _remove_unlocked(folder):
                removed.append(folder)
    return removed


def _remove_unlocked(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        # Made just now, or its process died then: either way nothing may be in it.
        with suppress(OSError):
            folder.rmdir()
            return True
        return False
    try:
        if not _take(lock, folder):
            return False
        _remove(folder)
    finally:
        os.close(lock)
    return True


def _take(lock: int, folder: Path) -> bool:
    """Lock the file, if it is still the one in the folder."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(lock).st_nlink > 0


def _remove(folder: Path) -> None:
    """Remove the lock last: until then the folder is known as one that may be removed."""
    for entry in folder.iterdir():
        if entry.name != _LOCK:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    (folder / _LOCK).unlink()
    folder.rmdir()
