"""Fault points: moments at which a test may end or stop the process.

Belongs here: the names of the moments that a failure may fall between. They do nothing unless a
test arms one. Does not belong here: what happens then (``tests``).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class FaultPoint(StrEnum):
    """A moment between two effects that are not one transaction."""

    HALF_EXTRACTED = "half_extracted"
    """Some facts are staged, some are not."""
    STAGED = "staged"
    """Every file is written, nothing is committed to the lake."""
    LAKE_COMMITTED = "lake_committed"
    """The lake has the rows, the warehouse knows nothing of them."""
    PUBLISHING = "publishing"
    """Inside the transaction of a publication, after its rows were replaced."""
    PUBLISHED = "published"
    """Readers see the rows, Dagster was not told."""


class ExportFaultPoint(StrEnum):
    """A moment between two effects of an export that are not one transaction."""

    RENDERING = "rendering"
    """Some rows are written, nothing is uploaded that can be seen."""
    UPLOADING = "uploading"
    """A part of the file is in the store, the file is not."""
    UPLOADED = "uploaded"
    """File and manifest are there, the job does not know it."""
    FINISHED = "finished"
    """The job has succeeded, Dagster was not told."""


_armed: dict[StrEnum, Callable[[], None]] = {}


def reached(point: FaultPoint | ExportFaultPoint) -> None:
    """Mark a moment in the code; does nothing unless a test armed it."""
    if action := _armed.get(point):
        action()


def arm(point: FaultPoint | ExportFaultPoint, action: Callable[[], None]) -> None:
    """Have ``action`` called, in this process, whenever the point is reached."""
    _armed[point] = action
