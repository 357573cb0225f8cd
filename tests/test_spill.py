"""Temporary files and folders: where there is space, and nothing of them stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exports.spill import DiskSpaceError, spill
from resources.spill_folders import spill_folder, sweep_spill_folders

PROJECT = Path(__file__).parent.parent


def test_a_temporary_file_can_be_sought_and_never_has_a_name(tmp_path: Path) -> None:
    with spill(tmp_path, 2**20) as file:
        assert file.write(b"0123456789" * 300_000) == 3_000_000
        file.seek(5)
        file.write(b"x")
        assert file.tell() == 6
        file.seek(0)
        assert file.read(7) == b"01234x6"
        assert file.read().endswith(b"789")
        assert list(tmp_path.iterdir()) == []
    assert file.closed
    assert list(tmp_path.iterdir()) == []


def test_a_file_for_which_there_is_no_space_is_not_begun(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskSpaceError, match="BOXOFFICE_EXPORTS_SPILL_DIRECTORY") as raised,
        spill(tmp_path, 2**60),
    ):
        pytest.fail("it was begun")
    assert str(tmp_path) in str(raised.value)
    assert "1,099,511,627,776.0 MiB is needed" in str(raised.value)


def test_space_that_must_stay_free_is_not_used(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskSpaceError, match="must stay free"),
        spill(tmp_path, 0, reserve_bytes=2**60),
    ):
        pytest.fail("it was begun")


_LIMITED = """
import resource, sys
from pathlib import Path
from exports.spill import DiskSpaceError, spill
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    with spill(Path(sys.argv[1]), 0) as file:
        for _ in range(30):
            file.write(bytes(100_000))
except DiskSpaceError as error:
    print(error)
"""


def test_a_disk_that_fills_up_meanwhile_ends_in_a_clear_error(tmp_path: Path) -> None:
    said = python(_LIMITED, tmp_path)
    assert said.startswith(f"{tmp_path}: no space for more of a temporary file of which 1.0 MiB")
    assert "BOXOFFICE_EXPORTS_SPILL_DIRECTORY" in said
    assert list(tmp_path.iterdir()) == []


_HOLDING = """
import sys, time
from resources.spill_folders import spill_folder
with spill_folder(sys.argv[1]) as folder:
    (folder / "duckdb_temp_storage.tmp").write_bytes(bytes(1000))
    (folder / "more").mkdir()
    (folder / "more" / "file").touch()
    print(folder, flush=True)
    time.sleep(600)
"""


@contextmanager
def holder(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process with a spill folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDING, directory], cwd=PROJECT, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().decode().strip())
    finally:
        process.kill()
        process.wait()


def test_only_the_folder_of_a_killed_process_is_swept(tmp_path: Path) -> None:
    foreign = tmp_path / "boxoffice-spill-of-somebody-else"
    foreign.mkdir()
    (foreign / "file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "boxoffice-spill-link").symlink_to(tmp_path / "other")
    with holder(tmp_path) as (process, folder), spill_folder(tmp_path) as own:
        assert sweep_spill_folders(tmp_path) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert folder.exists()
        assert sweep_spill_folders(tmp_path) == [folder]
        assert not folder.exists()
        assert own.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "boxoffice-spill-link",
        foreign.name,
        "other",
    ]


def test_what_a_killed_sweep_or_start_leaves_is_swept_by_the_next_one(tmp_path: Path) -> None:
    empty = tmp_path / "boxoffice-spill-empty"
    empty.mkdir()
    half = tmp_path / "boxoffice-spill-half"
    half.mkdir()
    (half / "in-use.lock").touch()
    assert sweep_spill_folders(tmp_path) == [empty, half]


def test_a_folder_goes_whatever_is_raised(tmp_path: Path) -> None:
    def fail() -> None:
        with spill_folder(str(tmp_path)) as folder:
            (folder / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def python(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=PROJECT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
